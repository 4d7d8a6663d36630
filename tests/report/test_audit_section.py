"""What audits found, on a page: a table for each, with the sets side by side."""

from pages import read

from attar.evaluation.audits.measures import GATE, Measure
from attar.report.page import write_report


def test_a_page_shows_each_audit_in_a_table_of_its_own(tmp_path):
    about = {"data": "toy", "ipc": 1, "trained": "dm"}
    measures = [
        Measure("robust", "accuracy, FGSM, L∞ 2/255", 41.25, 38.0, 44.5, "%", method="m3d", **about),
        Measure("robust", "accuracy, FGSM, L∞ 2/255", 30.0, method="random", **about),
        Measure("robust", "gate: accuracy falls with ε", 0.0, unit=GATE, method="m3d", note="<look> at it", **about),
        Measure("distribution", "KID, z, pixels", None, data="toy", method="m3d", ipc=1),
    ]
    _, page = read(write_report(tmp_path / "r.html", [], [], None, {}, measures))
    assert [name for name in page.sections if name.startswith("audit")] == ["audit-1", "audit-2"]
    for told in ("41.2 % (38.0 to 44.5)", "FAILS", "Networks trained by dm", "m3d, 1 per class: <look> at it"):
        assert told in page.text
