"""A class that was left out: known from a teacher's wrong answers, and not from labels."""

import pytest
import torch

from labkit import corpora
from labkit.compression.unseen import Unseen, judge, learn, perceptron, without


def test_the_share_of_right_answers_by_hand():
    model = torch.nn.Identity()  # the images are the logits
    images, labels = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 1])
    assert judge(model, images, labels, missing=1) == Unseen(missing=0.5, others=1.0)
    assert without(labels, 1).tolist() == [0, 2]


@pytest.mark.parametrize("missing", [5, 0])
def test_to_judge_takes_images_of_it_and_of_others(missing):
    with pytest.raises(ValueError, match="of it and of others"):
        judge(torch.nn.Identity(), torch.eye(3)[[0, 0]], torch.tensor([0, 0]), missing)


def test_the_student_knows_a_digit_that_it_never_saw():
    try:
        digits = corpora.load("digits", quiet=True)
    except corpora.CorpusUnavailable as reason:
        pytest.skip(str(reason))
    images = torch.from_numpy(digits.images).flatten(1).float() / 16
    labels = torch.from_numpy(digits.labels).long()
    train, test = slice(0, 1200), slice(1200, None)
    teacher = learn(perceptron(64, 128, 10), images[train], labels[train], steps=100)
    kept = without(labels[train], 3)
    with torch.no_grad():
        answers = teacher(images[kept])
    soft = judge(learn(perceptron(64, 32, 10, seed=1), images[kept], answers, 4), images[test], labels[test], 3)
    hard = judge(learn(perceptron(64, 32, 10, seed=1), images[kept], labels[kept]), images[test], labels[test], 3)
    assert hard.missing == 0 and soft.missing > 0.5
    assert min(hard.others, soft.others) > 0.85
