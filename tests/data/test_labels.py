"""Claims about class names, without a network."""

from __future__ import annotations

import sys

import pytest

from tapetum.data.labels import find_label, imagenet_labels, labels_for
from tapetum.types import TargetError


def refusal(labels, text) -> str:
    with pytest.raises(TargetError) as caught:
        find_label(labels, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_imagenet_has_its_well_known_indices() -> None:
    labels = imagenet_labels()
    known = {
        0: "tench",
        207: "golden retriever",
        281: "tabby",
        285: "Egyptian cat",
        954: "banana",
        999: "toilet tissue",
    }
    assert len(labels) == 1000
    assert {index: labels[index] for index in known} == known


def test_imagenet_names_no_class_twice() -> None:
    assert len(set(imagenet_labels())) == 1000


def test_imagenet_without_the_private_list_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = imagenet_labels()
    import torchvision.models  # noqa: F401 - its weights need the list themselves

    monkeypatch.setitem(sys.modules, "torchvision.models._meta", None)
    assert imagenet_labels.__wrapped__() == expected


def test_a_head_of_1000_is_imagenet() -> None:
    assert labels_for(1000) == imagenet_labels()


@pytest.mark.parametrize("n_classes", [11221, 11821, 21841, 21843])
def test_larger_imagenets_have_a_name_for_each_output(n_classes: int) -> None:
    labels = labels_for(n_classes)
    assert len(labels) == n_classes
    assert all(labels)
    assert labels[find_label(labels, "golden retriever")] == "golden retriever"


@pytest.mark.parametrize("n_classes", [0, 1, 2, 10, 91, 999, 1001, 12000])
def test_other_heads_have_no_names(n_classes: int) -> None:
    assert labels_for(n_classes) is None


def test_larger_imagenets_need_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.data.imagenet_info", None)
    assert labels_for.__wrapped__(21843) is None


def test_every_imagenet_label_finds_itself() -> None:
    labels = imagenet_labels()
    assert [find_label(labels, label) for label in labels] == list(range(1000))


@pytest.mark.parametrize("text", ["Egyptian cat", "egyptian CAT", "egyptian_cat", "  Egyptian   cat ", "gyptian c"])
def test_case_spaces_and_underscores_do_not_matter(text: str) -> None:
    assert find_label(imagenet_labels(), text) == 285


def test_a_label_wins_over_those_that_contain_it() -> None:
    labels = ["crane bird", "crane", "crane truck"]
    assert find_label(labels, "Crane") == 1


def test_the_exact_case_wins() -> None:
    labels = ["Cardigan", "cardigan"]
    assert find_label(labels, "Cardigan") == 0
    assert find_label(labels, "cardigan") == 1
    assert "0 (Cardigan), 1 (cardigan)" in refusal(labels, "CARDIGAN")


def test_a_synonym_wins_over_a_part() -> None:
    labels = ["tench, Tinca tinca", "tench fishing"]
    assert find_label(labels, "tinca TINCA") == 0
    assert find_label(labels, "Tench") == 0
    assert find_label(labels, "fish") == 1


def test_names_that_repeat_are_refused_with_their_indices() -> None:
    labels = ["crane", "maillot", "ship", "crane", "maillot, tank suit"]
    assert "0 (crane), 3 (crane)" in refusal(labels, "crane")
    assert find_label(labels, "maillot") == 1


def test_an_ambiguous_part_lists_the_candidates() -> None:
    message = refusal(imagenet_labels(), "terrier")
    assert "179 (" in message
    assert message.count("(") == 8
    assert "..." in message


def test_a_misspelling_gets_near_names() -> None:
    assert "207 (golden retriever)" in refusal(imagenet_labels(), "golden retreiver")


@pytest.mark.parametrize("text", ["", "   ", "__", "qqqzz", "two\nlines"])
def test_what_names_nothing_is_refused(text: str) -> None:
    refusal(imagenet_labels(), text)


def test_no_labels_at_all() -> None:
    assert "among 0" in refusal([], "cat")
