"""Groups of ImageNet's classes: every class belongs to one, and labels find theirs."""

from __future__ import annotations

import pytest

from tapetum.data.class_groups import groups_above, groups_of_labels, imagenet_groups
from tapetum.data.cues import imagenet_categories
from tapetum.data.labels import imagenet_labels
from tapetum.data.streams.base import folder_labels

NAMES, GROUPS = imagenet_labels(), imagenet_groups()


def test_every_class_is_in_a_group_and_no_group_has_the_name_of_a_class() -> None:
    assert {one for classes in GROUPS.values() for one in classes} == set(range(1000))
    assert not {name.casefold() for name in GROUPS} & {name.casefold() for name in NAMES}
    assert all(name == name.strip() and "  " not in name for name in GROUPS)
    assert not [name for name in GROUPS if name.endswith((" OR", " AND")) or name != name.lower()]


def test_a_group_lies_within_those_above_it() -> None:
    for name, above in groups_above().items():
        for wider in above:
            assert set(GROUPS[name]) <= set(GROUPS[wider]), (name, wider)


@pytest.mark.parametrize(
    ("group", "classes"),
    [
        ("dog", {*range(151, 269)}),
        ("domestic cat", {*range(281, 286)}),
        ("bird", {*range(7, 25), *range(80, 101), *range(127, 147)}),
        ("snake", {*range(52, 69)}),
        ("insect", {*range(300, 327)}),
        ("animal", {*range(398)}),
        ("fish", {*range(7), *range(389, 398)}),
        ("canine", {*range(151, 276), *range(277, 281)}),
        ("primate", {*range(365, 385)}),
        ("reptile", {*range(33, 69)}),
    ],
)
def test_known_groups_have_exactly_their_classes(group: str, classes: set[int]) -> None:
    assert set(GROUPS[group]) == classes


@pytest.mark.parametrize(
    ("label", "groups"),
    [
        ("tabby", ["animal", "mammal", "carnivore", "feline", "domestic cat"]),
        ("Cardigan", ["animal", "mammal", "carnivore", "canine", "dog", "corgi"]),
        ("cardigan", ["artifact", "clothing", "sweater or shirt"]),
        ("crane bird", ["animal", "bird", "water bird"]),
        ("crane", ["artifact", "structure"]),
        ("school bus", ["artifact", "vehicle", "bus"]),
        ("acoustic guitar", ["artifact", "musical instrument", "string instrument", "guitar"]),
        ("banana", ["food", "fruit"]),
        ("volcano", ["natural thing", "landscape", "mountain or valley"]),
    ],
)
def test_a_label_has_the_groups_of_its_class(label: str, groups: list[str]) -> None:
    assert groups_of_labels([label]) == {label: tuple(groups)}


def test_groups_agree_with_the_published_categories() -> None:
    names = {
        "bird": "bird",
        "dog": "dog",
        "bear": "bear",
        "boat": "watercraft",
        "car": "car",
        "chair": "seat",
        "truck": "truck",
    }
    names |= {"elephant": "elephant", "bottle": "container", "keyboard": "keyboard", "clock": "clock or watch", "cat": "feline"}
    known = {"airplane": "airplane", "bicycle": "cycle or scooter", "knife": "kitchen utensil", "oven": "kitchen appliance"}
    for category, group in (names | known).items():
        outside = set(imagenet_categories()[category]) - set(GROUPS[group])
        assert not {NAMES[one] for one in outside} - {"minivan"}, (category, group)  # published as a truck


def test_a_label_that_is_a_group_has_the_groups_above_it() -> None:
    assert groups_of_labels(["dog", "Bird"]) == {
        "dog": ("animal", "mammal", "carnivore", "canine", "dog"),
        "Bird": ("animal", "bird"),
    }


def test_labels_of_other_data_get_no_groups_by_mistake() -> None:
    assert groups_of_labels(["ear", "elbow", "knee", "ankle"]) == {}  # "ear" is maize in ImageNet


def test_a_file_named_by_its_wordnet_id_is_of_that_class_whatever_the_words_after_it() -> None:
    assert folder_labels(["n02012849_crane.JPEG", "n03126707_crane.JPEG"]) == ("crane bird", "crane")
