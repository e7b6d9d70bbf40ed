"""The page about states says what the table says."""

from pathlib import Path

from legato.core.states import FINAL, NAMES, TRANSITIONS, StateType

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "states.md"


def test_the_page_holds_the_table() -> None:
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[0].isupper():
            rows[StateType(cells[0].lower())] = (cells[1], cells[2])
    expected = {
        state: (
            ", ".join(NAMES[state]),
            "nothing" if state in FINAL else ", ".join(other.upper() for other in StateType if other in TRANSITIONS[state]),
        )
        for state in StateType
    }
    assert rows == expected
