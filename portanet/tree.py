"""
Several arrays as one value: a tuple or a dict of arrays, as networks with several inputs or outputs take them.

Where such a value may stand, one array may stand, too. Their leaves are the arrays.
"""

from collections.abc import Callable, Iterable
from typing import Any

from portanet.typing import Shape, Shapes


def is_tree(value: Any) -> bool:
    """
    Whether a value is a dict, or a tuple of arrays.

    Examples
    --------
    >>> is_tree({"a": [1, 2]}), is_tree((np.ones(2), np.ones(2))), is_tree(np.ones(2)), is_tree((1, 2))
    (True, True, False, False)
    """
    return isinstance(value, dict) or (isinstance(value, tuple) and bool(value) and all(map(_has_shape, value)))


def _has_shape(value: Any) -> bool:
    return hasattr(value, "shape")


def tree_leaves(tree: Any) -> list[Any]:
    """
    Return the arrays of a tree.

    Examples
    --------
    >>> tree_leaves({"a": 1, "b": 2}), tree_leaves(3)
    ([1, 2], [3])
    """
    return [*tree.values()] if isinstance(tree, dict) else [*tree] if is_tree(tree) else [tree]


def named_leaves(name: str, tree: Any) -> list[tuple[str, Any]]:
    """
    Return the arrays of a tree with their names, for messages.

    Examples
    --------
    >>> named_leaves("x", {"a": 1, "b": 2}), named_leaves("x", 3)
    ([("x['a']", 1), ("x['b']", 2)], [('x', 3)])
    """
    if not is_tree(tree):
        return [(name, tree)]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [(f"{name}[{key!r}]", value) for key, value in items]


def tree_unflatten(tree: Any, values: Iterable[Any]) -> Any:
    """
    Return a tree like another one, with other leaves.

    Examples
    --------
    >>> tree_unflatten({"a": 1, "b": 2}, [3, 4]), tree_unflatten(1, [3])
    ({'a': 3, 'b': 4}, 3)
    """
    if isinstance(tree, dict):
        return dict(zip(tree, values, strict=True))
    (*own,) = values
    return tuple(own) if is_tree(tree) else own[0]


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """
    Return a tree of what a function makes of each leaf, and of the same leaf of other trees.

    Examples
    --------
    >>> tree_map(lambda a, b: a + b, {"a": 1, "b": 2}, {"a": 10, "b": 20})
    {'a': 11, 'b': 22}
    """
    if not is_tree(tree):
        return function(tree, *others)
    if isinstance(tree, dict):
        return {key: function(value, *(other[key] for other in others)) for key, value in tree.items()}
    return tuple(function(*values) for values in zip(tree, *others, strict=True))


def shape_of(tree: Any) -> Shapes:
    """
    Return the shape of an array, or those of the arrays of a tree.

    Examples
    --------
    >>> shape_of((np.ones((2, 3)), np.ones(2)))
    ((2, 3), (2,))
    """
    return tree_map(lambda array: tuple(array.shape), tree)


def input_shape_of(tree: Any) -> Shapes:
    """
    Return the shape of one example of an array, or of each array of a tree: without the batch axis.

    Examples
    --------
    >>> input_shape_of({"a": np.ones((5, 2)), "b": np.ones(5)})
    {'a': (2,), 'b': ()}
    """
    return tree_map(lambda array: tuple(array.shape[1:]), tree)


def is_shape(shape: Any) -> bool:
    """
    Whether a value is one shape, and not a tuple or dict of shapes.

    Examples
    --------
    >>> is_shape((2, 3)), is_shape(()), is_shape(((2, 3), (4,)))
    (True, True, False)
    """
    return isinstance(shape, tuple) and all(isinstance(length, int) for length in shape)


def map_shapes(function: Callable[[Shape], Any], shape: Shapes) -> Any:
    """
    Return what a function makes of a shape, or of each of a tuple or dict of shapes.

    Examples
    --------
    >>> map_shapes(lambda shape: (5, *shape), {"a": (2, 3), "b": ()})
    {'a': (5, 2, 3), 'b': (5,)}
    """
    if isinstance(shape, dict):
        return {key: function(value) for key, value in shape.items()}
    return function(shape) if is_shape(shape) else tuple(function(value) for value in shape)


def shapes_of_tuple(shape: Shapes) -> tuple[Shape, ...]:
    """
    Return the shape of each array of a tuple, or of one array.

    Raises
    ------
    ValueError
        If they are those of a dict.

    Examples
    --------
    >>> shapes_of_tuple(((2, 3), (4,))), shapes_of_tuple((2, 3))
    (((2, 3), (4,)), ((2, 3),))
    """
    if isinstance(shape, dict):
        raise ValueError(f"an array or a tuple of arrays is needed, got a dict with {', '.join(map(str, shape))}")
    return (shape,) if is_shape(shape) else tuple(shape)


def n_examples(tree: Any) -> int:
    """
    Return the number of examples: the length of the first axis of the first leaf.

    Examples
    --------
    >>> n_examples({"a": np.ones((5, 2)), "b": np.ones(5)})
    5
    """
    return int(tree_leaves(tree)[0].shape[0])
