// A ConvNet's first block on a CPU: 3×3 convolution, instance normalisation, ReLU and 2×2 mean, and their gradients.
//
// Its convolution writes forty times as many numbers as it reads. Here a core makes a few maps of one image at a time,
// and pools them while its caches hold them. Backward it makes them again, and keeps the gradients in all maps of one
// image (0.6 MB at 32 pixels and 128 maps).
// The letters are those of first_block_gpu.py: p the patches of an image, a = w·p a map, r its inverse deviation,
// s = gain · r, and g the gradient in the normalised map where that is positive, elsewhere 0.
// Everything is computed in float32. What leaves the block, and the gradient in it, may be bfloat16 (as uint16_t).

#include <cmath>
#include <cstdint>
#include <vector>

#ifdef LONG
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int FEW = 2 * LANES; // maps at a time: their sums at four pixels stay in registers
extern "C" const int64_t first_block_maps = FEW;
using Lanes [[gnu::vector_size(4 * LANES)]] = float;
using Words [[gnu::vector_size(4 * LANES)]] = uint32_t;
using LanesAnywhere [[gnu::vector_size(4 * LANES), gnu::aligned(4), gnu::may_alias]] = float;
using HalvesAnywhere [[gnu::vector_size(2 * LANES), gnu::aligned(2), gnu::may_alias]] = uint16_t;

struct Buffer { // of zeros, from the start of a cache line, which no vector then straddles
    struct alignas(64) Line {
        float numbers[16];
    };
    std::vector<Line> lines;
    explicit Buffer(int64_t size) : lines((size + 15) / 16) {}
    float *data() { return reinterpret_cast<float *>(lines.data()); }
};

struct Window { // a few maps at the pixels of a 2×2 window
    Lanes at[4][2];
};

struct Sizes { // in the order in which first_block_cpu.py gives them
    int64_t images, inputs, tall, wide, border, outputs, threads;
    int64_t rows() const { return tall + 2 * border; }
    int64_t columns() const { return wide + 2 * border; }
    int64_t pixels() const { return rows() * columns(); }
    int64_t windows() const { return pixels() / 4; }
    int64_t numbers() const { return 9 * inputs; } // of a patch
    int64_t values() const { return inputs * tall * wide; }     // of an image
    int64_t line() const { return (columns() + 2) * inputs; }   // of a framed image
    int64_t below() const { return (columns() + 2) * outputs; } // from a pixel to that below, in framed maps
};

inline Lanes load(const float *from) { return *reinterpret_cast<const LanesAnywhere *>(from); }
inline Lanes load(const uint16_t *from) {
    const HalvesAnywhere &halves = *reinterpret_cast<const HalvesAnywhere *>(from);
    return reinterpret_cast<Lanes>(__builtin_convertvector(halves, Words) << 16);
}
inline void store(float *to, Lanes value) { *reinterpret_cast<LanesAnywhere *>(to) = value; }
inline void store(uint16_t *to, Lanes value) { // the nearest, of two the even one; a NaN stays one
    Words bits = reinterpret_cast<Words>(value), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    Words kept = value == value ? rounded : rounded * 0 + 0x7fc0;
    *reinterpret_cast<HalvesAnywhere *>(to) = __builtin_convertvector(kept, HalvesAnywhere);
}
inline float total(Lanes value) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += value[lane];
    return sum;
}

// The image with a frame of zeros, channels last.
void frame(const float *x, float *image, const Sizes &z) {
    for (int64_t c = 0; c < z.inputs; c++)
        for (int64_t y = 0; y < z.tall; y++)
            for (int64_t i = 0; i < z.wide; i++) {
                int64_t row = y + z.border + 1, column = i + z.border + 1;
                image[row * z.line() + column * z.inputs + c] = x[(c * z.tall + y) * z.wide + i];
            }
}

// Weights (outputs, inputs, 3, 3) in the order of use: of each few maps, for each number of a patch.
Buffer in_order(const float *weight, const Sizes &z) {
    Buffer w(z.numbers() * z.outputs);
    for (int64_t d = 0; d < z.outputs; d++)
        for (int64_t c = 0; c < z.inputs; c++)
            for (int64_t tap = 0; tap < 9; tap++) {
                int64_t number = tap * z.inputs + c;
                w.data()[(d / FEW * z.numbers() + number) * FEW + d % FEW] = weight[(d * z.inputs + c) * 9 + tap];
            }
    return w;
}

// The mean of the patches, E p.
std::vector<float> centre(const float *image, const Sizes &z) {
    std::vector<float> mean;
    std::vector<double> column(z.line());
    for (int64_t y = 0; y < 3; y++) {
        for (int64_t i = 0; i < z.line(); i++) {
            column[i] = 0;
            for (int64_t row = y; row < y + z.rows(); row++)
                column[i] += image[row * z.line() + i];
        }
        for (int64_t j = 0; j < 3 * z.inputs; j++) {
            double sum = 0;
            for (int64_t x = 0; x < z.columns(); x++)
                sum += column[x * z.inputs + j];
            mean.push_back(sum / z.pixels());
        }
    }
    return mean;
}

// a in the window whose first patch starts at `corner`.
inline Window convolved(const float *corner, const float *w, const Sizes &z) {
    Window a{};
    int64_t right = z.inputs, down = z.line();
    for (int64_t y = 0; y < 3; y++)
        for (int64_t j = 0; j < 3 * z.inputs; j++, w += FEW) {
            const float *p = corner + y * z.line() + j;
            Lanes one = load(w), other = load(w + LANES);
            a.at[0][0] += p[0] * one, a.at[0][1] += p[0] * other;
            a.at[1][0] += p[right] * one, a.at[1][1] += p[right] * other;
            a.at[2][0] += p[down] * one, a.at[2][1] += p[down] * other;
            a.at[3][0] += p[down + right] * one, a.at[3][1] += p[down + right] * other;
        }
    return a;
}

// Gives all windows to `take`, one after another.
template <typename Take> inline void convolve(const float *image, const float *w, const Sizes &z, Take take) {
    int64_t i = 0;
    for (int64_t y = 0; y < z.rows(); y += 2)
        for (int64_t x = 0; x < z.columns(); x += 2)
            take(i++, convolved(image + y * z.line() + x * z.inputs, w, z));
}

// The pooled maps of an image (windows, outputs), and mean and r of each map.
template <typename Number>
void forward(const float *image, const float *weights, const float *gain, const float *shift, float eps, Number *out,
             float *moments, Window *a, const Sizes &z) {
    std::vector<float> middle = centre(image, z);
    for (int64_t d = 0; d < z.outputs; d += FEW) {
        const float *w = weights + d * z.numbers();
        Lanes mean[2]{}, squares[2]{};
        // The mean is known before there is a map, so that squares are of what differs from it.
        for (int64_t k = 0; k < z.numbers(); k++)
            for (int half = 0; half < 2; half++)
                mean[half] += middle[k] * load(w + k * FEW + half * LANES);
        convolve(image, w, z, [&](int64_t i, Window window) {
            for (int half = 0; half < 2; half++) {
                Lanes sum{};
                for (auto &pixel : window.at) {
                    pixel[half] -= mean[half];
                    sum += pixel[half] * pixel[half];
                }
                squares[half] += sum;
            }
            a[i] = window;
        });
        Lanes s[2], t[2];
        for (int half = 0; half < 2; half++) {
            int64_t at = d + half * LANES;
            Lanes r = squares[half] / float(z.pixels()) + eps;
            for (int lane = 0; lane < LANES; lane++)
                r[lane] = 1 / std::sqrt(r[lane]);
            store(moments + at, mean[half]);
            store(moments + z.outputs + at, r);
            s[half] = load(gain + at) * r, t[half] = load(shift + at);
        }
        for (int64_t i = 0; i < z.windows(); i++)
            for (int half = 0; half < 2; half++) {
                Lanes sum{};
                for (auto &pixel : a[i].at) {
                    Lanes value = pixel[half] * s[half] + t[half];
                    sum += value < 0 ? Lanes{} : value; // a NaN stays one
                }
                store(out + i * z.outputs + d + half * LANES, sum * 0.25f);
            }
    }
}

// Given the gradient in the pooled maps, that in the framed maps (rows + 2, columns + 2, outputs):
// s g − s E g − s r² E[g (a − mean)] (a − mean). And what the image adds to those in gain and shift.
template <typename Number>
void backward(const float *image, const float *weights, const float *gain, const float *shift, const float *moments,
              const Number *up, float *gradient, float *sides, Window *a, const Sizes &z) {
    for (int64_t d = 0; d < z.outputs; d += FEW) {
        Lanes mean[2], r[2], s[2], t[2], sum[2]{}, along[2]{};
        for (int half = 0; half < 2; half++) {
            int64_t at = d + half * LANES;
            mean[half] = load(moments + at), r[half] = load(moments + z.outputs + at);
            s[half] = load(gain + at) * r[half], t[half] = load(shift + at);
        }
        convolve(image, weights + d * z.numbers(), z, [&](int64_t i, Window window) {
            for (int half = 0; half < 2; half++) {
                Lanes u = load(up + i * z.outputs + d + half * LANES) * 0.25f, some{}, product{};
                for (auto &pixel : window.at) {
                    pixel[half] -= mean[half];
                    Lanes g = pixel[half] * s[half] + t[half] <= 0 ? Lanes{} : u;
                    some += g, product += g * pixel[half];
                }
                sum[half] += some, along[half] += product;
            }
            a[i] = window;
        });
        Lanes level[2], curve[2];
        for (int half = 0; half < 2; half++) {
            store(sides + d + half * LANES, r[half] * along[half]);
            store(sides + z.outputs + d + half * LANES, sum[half]);
            level[half] = s[half] * sum[half] / float(z.pixels());
            curve[half] = s[half] * r[half] * r[half] * along[half] / float(z.pixels());
        }
        for (int64_t y = 0, i = 0; y < z.rows(); y += 2)
            for (int64_t x = 0; x < z.columns(); x += 2, i++)
                for (int half = 0; half < 2; half++) {
                    Lanes u = load(up + i * z.outputs + d + half * LANES) * 0.25f * s[half];
                    float *to = gradient + (y + 1) * z.below() + (x + 1) * z.outputs + d + half * LANES;
                    for (int j = 0; j < 4; j++) {
                        Lanes pixel = a[i].at[j][half], g = pixel * s[half] + t[half] <= 0 ? Lanes{} : u;
                        store(to + j / 2 * z.below() + j % 2 * z.outputs, g - level[half] - curve[half] * pixel);
                    }
                }
    }
}

// The gradient in an image: each pixel takes what it was in nine patches.
template <int inputs> void gather(const float *gradient, const float *weights, float *out, const Sizes &z) {
    constexpr int SOME = 4; // pixels at a time
    for (int64_t y = 0; y < z.tall; y++)
        for (int64_t x = 0; x < z.wide; x += SOME) {
            Lanes found[SOME][inputs]{};
            const float *w = weights;
            for (int64_t d = 0; d < z.outputs; d += FEW)
                for (int tap = 0; tap < 9; tap++, w += inputs * FEW) {
                    int64_t row = y + z.border + 2 - tap / 3, column = x + z.border + 2 - tap % 3;
                    const float *from = gradient + row * z.below() + column * z.outputs + d;
                    for (int half = 0; half < 2; half++)
                        for (int j = 0; j < SOME; j++) {
                            Lanes value = load(from + j * z.outputs + half * LANES);
                            for (int c = 0; c < inputs; c++)
                                found[j][c] += value * load(w + c * FEW + half * LANES);
                        }
                }
            for (int64_t j = 0; j < SOME && x + j < z.wide; j++)
                for (int c = 0; c < inputs; c++)
                    out[(c * z.tall + y) * z.wide + x + j] = total(found[j][c]);
        }
}

// What an image adds to the gradient in the weights, (3, 3, inputs, outputs): the sum over its pixels of the patch
// times the gradient.
void spread(const float *image, const float *gradient, float *out, const Sizes &z) {
    constexpr int SOME = 4; // numbers of a patch at a time
    // Where each lies in the image, from the patch's first number, which also stands in for those after the last.
    std::vector<int64_t> where(z.numbers() + SOME);
    for (int64_t k = 0; k < z.numbers(); k++)
        where[k] = k / (3 * z.inputs) * z.line() + k % (3 * z.inputs);
    for (int64_t i = 0; i < z.numbers() * z.outputs; i++)
        out[i] = 0;
    for (int64_t y = 0; y < z.rows(); y++)
        for (int64_t d = 0; d < z.outputs; d += FEW)
            for (int64_t k = 0; k < z.numbers(); k += SOME) {
                const float *from = gradient + (y + 1) * z.below() + z.outputs + d, *p = image + y * z.line();
                Lanes found[SOME][2]{};
                for (int64_t x = 0; x < z.columns(); x++, from += z.outputs, p += z.inputs) {
                    Lanes one = load(from), other = load(from + LANES);
                    for (int j = 0; j < SOME; j++) {
                        float value = p[where[k + j]];
                        found[j][0] += value * one, found[j][1] += value * other;
                    }
                }
                for (int64_t j = 0; j < SOME && k + j < z.numbers(); j++)
                    for (int half = 0; half < 2; half++) {
                        float *to = out + (k + j) * z.outputs + d + half * LANES;
                        store(to, load(to) + found[j][half]);
                    }
            }
}

template <typename Number>
void forward_all(const float *x, const float *weight, const float *gain, const float *shift, float eps, Number *out,
                 float *moments, const Sizes &z) {
    Buffer w = in_order(weight, z);
#pragma omp parallel num_threads(z.threads)
    {
        Buffer image((z.rows() + 2) * z.line());
        std::vector<Window> a(z.windows());
#pragma omp for
        for (int64_t n = 0; n < z.images; n++) {
            frame(x + n * z.values(), image.data(), z);
            forward(image.data(), w.data(), gain, shift, eps, out + n * z.windows() * z.outputs,
                    moments + 2 * n * z.outputs, a.data(), z);
        }
    }
}

template <typename Number>
void backward_all(const float *x, const float *weight, const float *gain, const float *shift, const float *moments,
                  const Number *up, float *images, float *weights, float *sides, const Sizes &z) {
    Buffer w = in_order(weight, z);
#pragma omp parallel num_threads(z.threads)
    {
        Buffer image((z.rows() + 2) * z.line());
        // Pixels are gathered four at a time, the last maybe too many.
        Buffer gradient((z.rows() + 2) * z.below() + 4 * z.outputs);
        std::vector<Window> a(z.windows());
#pragma omp for
        for (int64_t n = 0; n < z.images; n++) {
            frame(x + n * z.values(), image.data(), z);
            backward(image.data(), w.data(), gain, shift, moments + 2 * n * z.outputs,
                     up + n * z.windows() * z.outputs, gradient.data(), sides + 2 * n * z.outputs, a.data(), z);
            if (images)
                (z.inputs == 1 ? gather<1> : gather<3>)(gradient.data(), w.data(), images + n * z.values(), z);
            if (weights)
                spread(image.data(), gradient.data(), weights + n * z.numbers() * z.outputs, z);
        }
    }
}

extern "C" void first_block(const float *x, const float *weight, const float *gain, const float *shift, float eps,
                            void *out, float *moments, const Sizes *z, bool low) {
    if (low)
        forward_all(x, weight, gain, shift, eps, static_cast<uint16_t *>(out), moments, *z);
    else
        forward_all(x, weight, gain, shift, eps, static_cast<float *>(out), moments, *z);
}

extern "C" void first_block_gradients(const float *x, const float *weight, const float *gain, const float *shift,
                                      const float *moments, const void *up, float *images, float *weights, float *sides,
                                      const Sizes *z, bool low) {
    if (low)
        backward_all(x, weight, gain, shift, moments, static_cast<const uint16_t *>(up), images, weights, sides, *z);
    else
        backward_all(x, weight, gain, shift, moments, static_cast<const float *>(up), images, weights, sides, *z);
}
