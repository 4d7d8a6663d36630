"""Weights of a network from a file of somebody else: safetensors, or what `torch.save` writes."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.wording import in_a_line

INSIDE = "state_dict", "model_state_dict", "model"  # where checkpoints of training programs hold the weights


def read_features(network: Network, path: Path) -> Weights:
    """The weights of all but the head, which may be of other classes or not there.

    Raises `ValueError` naming the file, and what does not fit, where it does not hold this network's weights.
    """
    return read_weights(network.build(), path, network.name, network.device, (f"{network.head}.",))


def read_weights(
    module: nn.Module, path: Path, name: str, device: torch.device, without: tuple[str, ...] = ()
) -> Weights:
    """The weights of a module, which is called `name`. What begins with one of `without` stays as the module has it.

    No code of the file is run. Raises `ValueError` naming the file, and what does not fit, where it does not hold them.
    """
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    found = read_tensors_of(path)
    wanted = {key: tensor for key, tensor in module.state_dict().items() if not key.startswith(without)}
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    extra = [key for key in found if key not in wanted and not key.startswith(without)]
    told = f"{path} does not hold the weights of {name}"
    if missing or extra:
        raise ValueError(f"{told}: " + ", and ".join(count("lacks", missing) + count("has besides", extra)))
    for key in wanted.keys() & found.keys():
        if found[key].shape != wanted[key].shape:
            shapes = f"{tuple(found[key].shape)}, and not {tuple(wanted[key].shape)}"
            raise ValueError(f"{told}: {key} has the shape {shapes}")
        if not found[key].isfinite().all():
            raise ValueError(f"{told}: {key} has values that are no finite numbers")
    module.load_state_dict({key: found[key] for key in wanted if key in found}, strict=False)
    params = {key: p.detach().to(device) for key, p in module.named_parameters()}
    return Weights(params, {key: buffer.to(device) for key, buffer in module.named_buffers()})


def read_tensors_of(path: Path) -> dict[str, Tensor]:
    """The file's tensors by name, as the network itself calls them. Raises `ValueError` where it holds none."""
    try:
        found = load_file(path) if is_safetensors(path) else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {in_a_line(error)}") from None
    except Exception:  # torch has no class of error for a file that is none of its own, or that holds code
        raise ValueError(f"{path} is neither a safetensors file nor one of torch that holds tensors alone") from None
    for name in INSIDE:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found or not all(isinstance(each, Tensor) for each in found.values()):
        raise ValueError(f"{path} holds no weights by name")
    # As a network that was trained on several GPUs calls them.
    alike = all(name.startswith("module.") for name in found)
    return {name.removeprefix("module.") if alike else name: tensor for name, tensor in found.items()}


def is_safetensors(path: Path) -> bool:
    """By content: its header is JSON behind its length, and torch's are a ZIP archive or a pickle."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def count(what: str, names: list[str]) -> list[str]:
    """`lacks layer1.weight and 3 more`; nothing where there are no names."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"{what} {names[0]}{more}"] if names else []
