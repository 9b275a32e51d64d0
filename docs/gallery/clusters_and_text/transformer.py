"""
Text by a small transformer
===========================

A language model predicts the next letter from those before it. This one learns a short text and then writes.
"""

# %%
# The text: numbers in words. The letters become integers.

import numpy as np

import portanet as pn

ones = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
words = [f"{ten} {one}" for ten in tens for one in ones]
text = ", ".join(words) + ", "
letters = sorted(set(text))
ids = np.asarray([letters.index(letter) for letter in text])
print(f"{len(text)} letters, {len(letters)} different ones: {text[:60]}...")

# %%
# Windows of 48 letters; the target of each position is the letter after it.

length = 48
windows = np.lib.stride_tricks.sliding_window_view(ids, length + 1)
x, y = windows[:, :-1], windows[:, 1:]

# %%
# The network
# -----------
# ``is_causal=True`` hides the letters that follow. Attention alone does not know the order, so
# ``PositionalEmbedding`` adds a trained vector to each position.

net = pn.Sequential(
    pn.Embedding(len(letters), 48),
    pn.PositionalEmbedding(length, 48),
    *(pn.TransformerBlock(48, 4, is_causal=True) for _ in range(2)),
    pn.LayerNorm(48),
    pn.Linear(48, len(letters)),
)
epochs, batch_size = 12, 32
cycle = pn.LearningRateScheduler(pn.schedules.OneCycle(4e-3, steps=epochs * -(-len(x) // batch_size)))
trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(clip_norm=1.0), metrics="perplexity")
history = trainer.fit(x, y, epochs=epochs, batch_size=batch_size, callbacks=[cycle], progress=False)
pn.plots.training_curves(history, title="the perplexity is the number of letters it hesitates between")

# %%
# Writing
# -------
# ``generate`` takes the most probable letter each time. The first lines of the text tell it how to count.


def write(beginning: str, n_letters: int) -> str:
    start = [[letters.index(letter) for letter in beginning]]
    output = pn.generate(net, start, n_letters, max_context=length)[0]
    return "".join(letters[i] for i in output)


print(write("forty seven, forty eight, ", 60))
print(f"perplexity in training: {history['perplexity'][-1]:.2f} of {len(letters)} letters")
