"""What a text is worth: the same small model made from other texts, of as many tokens, is judged on the same one."""

from collections.abc import Iterable
from typing import Any

from labkit.pretraining.recipes import Data, Recipe, Trained, pretrain
from labkit.pretraining.tokens import Tokens

BETWEEN = "\n\n"  # what separates two documents


def pretrain_on(
    texts: Iterable[str],
    held_out: str,
    *,
    tokenizer: Tokens,
    recipe: Recipe,
    tokens: int | None = None,
    device: Any = None,
    progress: str | None = None,
) -> Trained:
    """The model of a recipe, learned from these documents instead of the recipe's corpus.

    To compare texts, give all of them the same `tokenizer`, `recipe` and `tokens`: then the models differ by nothing
    but what they have read.

    Args:
        held_out: the text that the stages on the way are judged on.
        tokens: how many tokens of the documents are learned from, the first ones; all if left out.
        progress: what to call the progress bar; none is shown if left out.

    Raises:
        ValueError: when the documents have fewer than `tokens` tokens, or no more than a window of the recipe.
    """
    text = BETWEEN.join(texts)
    ids = tokenizer.encode(text) if text else []
    wanted = recipe.context + 1 if tokens is None else tokens
    if len(ids) < max(wanted, recipe.context + 1):
        raise ValueError(
            f"the documents have {len(ids):,} tokens and {max(wanted, recipe.context + 1):,} are needed: give more "
            "documents, or ask for fewer tokens"
        )
    data = Data(tokenizer, ids[:tokens], tokenizer.encode(held_out), text, held_out)
    return pretrain(recipe, data=data, device=device, progress=progress)
