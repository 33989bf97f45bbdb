from estimator_ckpt import naming
from estimator_ckpt.bundle import BundleIndex, Extent, TensorEntry, TensorPart
from estimator_ckpt.estimator.object_keys import ObjectKeys, default_keys

NAMES = ["b", "a", "global_step"]


def index(names, offset, shards=1):
    return BundleIndex(
        {name: TensorEntry(1, (), 0, offset + ord(name[0])) for name in names}, shards
    )


def plain(by_name, to):
    """Makes the keys of a format in the plainest way."""
    entries = {} if to == "tf2" else dict(by_name.entries)
    if to != "tf1":
        layout = naming.Layout()
        entries.update({layout.key(name): entry for name, entry in by_name.entries.items()})
    return entries


def test_each_index_gets_the_keys_of_its_names_and_its_own_places():
    keys = default_keys(NAMES)
    for offset in (0, 10, 20):
        by_name = index(NAMES, offset, shards=offset + 1)
        for to in ("dual", "tf2", "tf1"):
            found = keys.add_to(by_name, to)
            assert found.entries == plain(by_name, to)
            assert found.num_shards == offset + 1


def test_an_index_of_other_names_gets_keys_of_its_own():
    keys = default_keys([*NAMES, "c"])
    for names in (NAMES, [*NAMES, "c"], NAMES[:1], NAMES):
        by_name = index(names, 5)
        assert keys.add_to(by_name, "dual").entries == plain(by_name, "dual")


def test_parts_have_the_keys_of_their_places_whatever_had_the_name_before():
    extents = (Extent(0, 1),)
    keys = ObjectKeys({("a", ()): ("whole",), ("a", extents): ("part",)})
    part = TensorEntry(1, (1,), 0, 7, 4)
    parted = TensorEntry(1, (2,), parts=(TensorPart(extents, part),))
    for entry in (TensorEntry(1, (2,)), parted, TensorEntry(1, (2,), 0, 9, 8), parted):
        found = keys.add_to(BundleIndex({"a": entry}), "tf2").entries
        assert found == {"whole": entry, **({"part": part} if entry.parts else {})}
