"""The steps of an image, and the layers that they made."""

from __future__ import annotations

import pytest

from mydocker import errors
from mydocker.image.history import history
from mydocker.image.store import ImageStore
from support.layout import Layout, layer

pytestmark = pytest.mark.root
ONE, TWO = layer("one"), layer("second")
STEPS = [
    {"created": "2020-01-01T00:00:00Z", "created_by": "ADD one"},
    {"created": "2020-01-01T00:00:01Z", "created_by": "ENV\tA=b", "empty_layer": True},
    {"created": "2020-01-01T00:00:02.5Z", "created_by": "ADD second", "comment": "why"},
    {"created_by": "CMD x", "empty_layer": True},
]


def test_history(store: ImageStore, layout: Layout) -> None:
    described = layout.image([ONE, TWO], history=STEPS)
    described["annotations"] = {"io.containerd.image.name": "docker.io/library/a:1"}
    store.load(layout.write(described))
    store.tag("a:1", "b:2")
    image = store.resolve("a:1")
    steps = history(image)
    assert [step["Id"] for step in steps] == [image.id, *["<missing>"] * 3]
    assert [step["Tags"] for step in steps] == [["a:1", "b:2"], None, None, None]
    assert [step["Size"] for step in steps] == [0, len("second"), 0, len("one")]
    assert [step["CreatedBy"] for step in steps] == ["CMD x", "ADD second", "ENV\tA=b", "ADD one"]
    assert [step["Created"] for step in steps] == [0, 1577836802, 1577836801, 1577836800]
    assert [step["Comment"] for step in steps] == ["", "why", "", ""]
    assert sum(step["Size"] for step in steps) == image.size


def test_none(store: ImageStore, layout: Layout) -> None:
    store.load(layout.write(layout.image([ONE])))
    assert history(store.list()[0]) == []


def test_more_steps_than_layers(store: ImageStore, layout: Layout) -> None:
    store.load(layout.write(layout.image([ONE], history=STEPS)))
    with pytest.raises(errors.CorruptData, match="too many non-empty layers in its history"):
        history(store.list()[0])
