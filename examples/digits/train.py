"""Train a classifier on scikit-learn's digits, one epoch at a time, so that it can be stopped and resumed anywhere.

The whole state of training is one pickled object: weights, optimizer moments and the state of the random generator. Resuming
from it therefore gives exactly the model that an uninterrupted run gives.
"""

import argparse
import json
import os
import pickle
import time
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import skyc


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--epoch-seconds", type=float, default=0.0, help="shortest time an epoch takes")
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()

    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images / 16.0, labels, test_size=0.25, random_state=7)

    directory = Path(os.environ.get("SKYC_CHECKPOINT_DIR", "ckpt"))
    saved = directory / "state.pickle"
    if saved.exists():
        first, model = pickle.loads(saved.read_bytes())
        print(f"resuming after epoch {first}", flush=True)
    else:
        first, model = 0, MLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.002, random_state=7)
        print("starting from scratch", flush=True)

    for epoch in range(first + 1, options.epochs + 1):
        started = time.monotonic()
        model.partial_fit(train_x, train_y, classes=range(10))
        time.sleep(max(0.0, options.epoch_seconds - (time.monotonic() - started)))
        directory.mkdir(parents=True, exist_ok=True)
        saved.write_bytes(pickle.dumps((epoch, model)))
        skyc.checkpoint(step=epoch)
        print(f"epoch {epoch}/{options.epochs}  accuracy {model.score(test_x, test_y):.4f}", flush=True)

    accuracy = round(float(model.score(test_x, test_y)), 4)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps({"accuracy": accuracy, "epochs": options.epochs}) + "\n")
    print(f"final accuracy {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
