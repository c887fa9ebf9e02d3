"""Merkle roots and proofs against the vectors of the certificate-transparency project."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.events import leaf_hash, merkle
from gates.receipts.log import roots_of_path, verify_consistency
from tests.proofs import consistency_proof, inclusion_proof

INPUTS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
LEAVES = [leaf_hash(data) for data in INPUTS]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int) -> None:
    assert [node.hex() for node in inclusion_proof(index, LEAVES[:size])] == INCLUSION[index, size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old: int, new: int) -> None:
    assert [node.hex() for node in consistency_proof(old, LEAVES[:new])] == CONSISTENCY[old, new]


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_shown_to_be_in_and_no_other_is(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    proof, head = inclusion_proof(index, leaves), merkle.root(leaves)
    assert roots_of_path(leaves[index], index, size, proof) == (merkle.root(leaves[: index + 1]), head)

    def shown(leaf: bytes, at: int, path: list[bytes]) -> bool:
        found = roots_of_path(leaf, at, size, path)
        return found is not None and found[1] == head

    assert not shown(leaf_hash(b"forged"), index, proof)
    assert not shown(leaves[index], index, [*proof, head])
    assert not shown(leaves[index], size, proof)
    if size > 1:
        assert not shown(leaves[index], (index + 1) % size, proof)
        assert not shown(leaves[index], index, proof[:-1])


@given(st.integers(1, 70), st.data())
def test_a_longer_log_is_shown_to_begin_with_the_shorter(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, leaves)
    old_head, head = merkle.root(leaves[:old]), merkle.root(leaves)
    assert verify_consistency(old, size, old_head, head, proof)
    forged = merkle.root([leaf_hash(b"forged"), *leaves[1:old]])
    assert not verify_consistency(old, size, forged, head, proof)
    if old < size:
        assert not verify_consistency(old, size, old_head, merkle.root([*leaves[:-1], LEAVES[0]]), proof)
        assert not verify_consistency(old, size, old_head, head, [*proof, head])


@pytest.mark.parametrize("before", [0, 1, 255, 256, 300])
@pytest.mark.parametrize("more", [0, 1, 255, 256, 513, 66_000])
def test_many_leaves_at_once_are_the_same_tree(before: int, more: int) -> None:
    leaves = [leaf_hash(str(number).encode()) for number in range(before + more)]
    slow, fast = merkle.Frontier(), merkle.Frontier()
    for leaf in leaves[:before]:
        slow.add(leaf)
        fast.add(leaf)
    nodes = [node for leaf in leaves[before:] for node in slow.add(leaf)]
    assert fast.add_all(leaves[before:]) == nodes
    assert (fast.size, fast.hashes) == (slow.size, slow.hashes)
