"""How soon a network is right about 99 of 100 handwritten digits that it has not seen."""

from time import perf_counter

from experiments.runner import Figures, Run, at_least, experiment
from portanet import (
    Adam,
    Conv2D,
    CrossEntropyLoss,
    Flatten,
    LearningRateScheduler,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    Trainer,
    accuracy,
)
from portanet.schedules import OneCycle

EPOCHS, BATCH_SIZE, RATE = 3, 64, 5e-3


@experiment(
    "mnist-99",
    source="ours",
    data="mnist",
    what=(
        "28x28 pixels; 16 filters of 3, pooling by 2, 32 filters of 3, pooling by 2, 64 ReLU, 10; Adam over one cycle "
        f"of {EPOCHS} epochs up to {RATE}, batch {BATCH_SIZE}"
    ),
    choices="The cheapest that had 99.2 % on the last 5000 training examples, held out; then trained on all of them.",
    reported={"test accuracy": at_least(0.99)},
    remark=(
        "The seconds are those from data in host memory to the last step, with nothing warmed up; the test set is "
        "looked at once, after them. A public record is 0.76 s on a GTX 1660 Ti."
    ),
)
def mnist_99(run: Run) -> Figures:
    data, epochs = run.load("mnist"), 1 if run.quick else EPOCHS
    net = Sequential(
        *(Conv2D(1, 16, 3, padding="same"), ReLU(), MaxPool2D(2)),
        *(Conv2D(16, 32, 3, padding="same"), ReLU(), MaxPool2D(2)),
        *(Flatten(), Linear(1568, 64), ReLU(), Linear(64, 10)),
    )
    cycle = LearningRateScheduler(OneCycle(RATE, steps=epochs * -(-len(data.x_train) // BATCH_SIZE)))
    begun = perf_counter()
    trainer = Trainer(net, CrossEntropyLoss(), Adam(), metrics=[accuracy], device=run.backend, seed=run.seed)
    with run.training(net):
        trainer.fit(data.x_train, data.y_train, epochs=epochs, batch_size=BATCH_SIZE, callbacks=[cycle])
    seconds = perf_counter() - begun
    return {"test accuracy": trainer.evaluate(data.x_test, data.y_test)["accuracy"], "seconds": seconds}
