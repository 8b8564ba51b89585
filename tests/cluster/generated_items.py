"""Generated keys and values of every kind that items may have, drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.sampled_from([0.0, -0.0, 1.0, 1e16])
    | st.text(max_size=3)
)
keys = st.recursive(
    scalars | st.binary(max_size=2), lambda inner: st.tuples(inner) | st.tuples(inner, inner), max_leaves=4
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
