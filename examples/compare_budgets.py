"""How much do more images buy? Random selection against M3D at three budgets, and a report."""

import attar

sets, rows = attar.compare(
    "digits", methods=("m3d", "random"), ipc=(1, 5, 20), protocol="quick", seeds=2, out="runs/example-budgets"
)
for row in rows:
    print(f"{row.method:8} {row.ipc:3} per class  {row.accuracy:.1f} %")
print(attar.write_report("runs/example-budgets/report.html", sets, rows, None))
