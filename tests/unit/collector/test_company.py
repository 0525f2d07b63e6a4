"""Who is alone, and since when."""

from collector.company import ALONE_AFTER_S, Company


def test_who_sends_first_is_alone() -> None:
    """Before anybody else was heard, and however often the same one was."""
    company = Company()
    company.heard("a", 1.0)
    company.heard("a", 2.0)

    assert company.is_alone(2.0)


def test_two_keep_each_other_company_for_a_while() -> None:
    """From the moment the second is heard until neither was followed by the other for long enough."""
    company = Company()
    company.heard("a", 1.0)
    company.heard("b", 2.0)
    company.heard("b", 2.0 + ALONE_AFTER_S / 2)

    assert not company.is_alone(2.0 + ALONE_AFTER_S / 2)
    assert company.is_alone(2.0 + ALONE_AFTER_S)
    company.heard("a", 3.0 + ALONE_AFTER_S)
    assert not company.is_alone(3.0 + ALONE_AFTER_S)
