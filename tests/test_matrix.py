"""The table of trainers is what their tests say."""

from matrix import PAGE, unmarked, with_table


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "run make matrix"


def test_every_test_of_a_trainer_says_what_it_shows() -> None:
    assert unmarked() == []
