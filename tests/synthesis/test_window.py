from attar.synthesis.window import Window


def test_a_window_knows_the_spread_of_its_last_values():
    window = Window(3)
    assert window.spread == 0 and not window.full
    for value in (5.0, 1.0, 2.0, 4.0):
        window.push(value)
    assert window.full and window.spread == 3.0
    window.clear()
    assert not window.full and window.spread == 0


def test_a_window_goes_on_where_it_was():
    whole, parts = Window(3), Window(3)
    for value in (5.0, 1.0):
        whole.push(value)
    parts.load_state_dict(whole.state_dict())
    for window in (whole, parts):
        window.push(2.0)
        window.push(4.0)
    assert parts.full and parts.spread == whole.spread == 3.0
