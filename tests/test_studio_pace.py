"""How far work is, in words and as bars."""

from tellapart.studio.pace import MOST_BARS, in_words, n_epochs, pace


def stage(description, done, total, unit="image", seconds=2.0):
    return {"description": description, "unit": unit, "total": total, "done": done, "seconds": seconds}


def test_before_anything_is_told_it_is_starting():
    told = in_words(pace([]))
    assert told["now"] == "Now: starting (loading the libraries takes a few seconds)"
    assert told["bars"] == []


def test_what_it_does_how_fast_and_how_long_still():
    told = in_words(pace([stage("reading", 16, 16), stage("inspecting", 1000, 3000)]))
    assert told["now"] == "Now: inspecting · 500.0 images/s, about 4 s left"
    assert told["bars"] == [
        {"name": "reading", "share": 1.0, "says": "16 of 16 images"},
        {"name": "inspecting", "share": 1 / 3, "says": "1,000 of 3,000 images"},
    ]


def test_a_rate_that_is_not_known_is_not_told():
    assert in_words(pace([stage("inspecting", 0, 16)]))["now"] == "Now: inspecting"


def test_past_epochs_share_a_bar_before_that_of_the_one_under_way():
    epochs = [stage(f"epoch {k}/30", done, 12) for k, done in ((1, 12), (2, 12), (3, 6))]
    stages = [stage("features", 4, 4), *epochs]
    told = in_words(pace(stages), epochs_done=2, epochs=30)
    assert [bar["name"] for bar in told["bars"]] == ["features", "epochs", "epoch 3/30"]
    assert told["bars"][1]["says"] == "2 of 30 epochs"
    assert n_epochs(stages) == 30


def test_of_many_stages_the_last_are_shown_and_none_of_nothing():
    stages = [stage(f"stage {k}", 1, 1) for k in range(20)] + [stage("empty", 0, 0)]
    shown = in_words(pace(stages))["bars"]
    assert [bar["name"] for bar in shown] == [f"stage {k}" for k in range(20 - MOST_BARS, 20)]
    assert n_epochs(stages) == 0
