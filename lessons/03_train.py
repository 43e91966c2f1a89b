# %% [markdown]
# # 3 · Train a small CNN and watch its filters form
#
# **Looks for**: where do the patterns come from that a network's filters look for? · about 25 minutes · needs
# [lesson 2](lesson:2)
#
# You will
#
# * measure what a network with random weights is worth
# * make one step of learning yourself, with torch alone
# * train SimpleCNN (24,458 weights) until it reads handwritten digits, and look at its mistakes
# * watch the filters of its first layer form, epoch by epoch
# * see a network learn its pictures by heart

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(3)
cat = here.picture("cat")
train_digits, test_digits = tp.digits("train"), tp.digits("test")

# %% [markdown]
# ## Before learning
#
# SimpleCNN has three blocks. Each is a convolution with 3 × 3 filters, batch normalisation, a ReLU, and a maximum over 2 × 2
# places. The blocks have 16, 32 and 64 channels. At the end stands the mean over all places, and a linear layer with one
# output for each class. Nobody writes the weights down. They are drawn by lot, and then changed by examples.
#
# The examples are 1,797 handwritten digits. We train on 1,438 of them. The network never sees the other 359 while it learns:
# only they can tell whether it has learned something about digits.
#
# **Predict.** The weights are random. How many of the 359 digits does the network name correctly?
#
# <details><summary>Answer</summary>
#
# About a tenth: there are ten classes. It is not even undecided between them. A random network nearly always says the same
# one or two digits, whatever it is shown: look at the columns of the matrix.
#
# </details>

# %%
fresh = tp.load("simple_cnn").module
untrained = tp.wrap(
    fresh,
    size=32,
    resize=32,
    mean=(0.3,) * 3,
    std=(0.36,) * 3,
    labels=test_digits.classes,
    name="SimpleCNN, random",
)
before = tp.check_predictions(untrained, test_digits, of="all", n=8)
tp.show(before)

# %%
parameters = sum(weight.numel() for weight in fresh.parameters())
here.holds(parameters == 24_458, "SimpleCNN with ten classes has 24,458 weights")
here.holds(before.accuracy < 0.3, "random weights read hardly more digits than chance")

# %% [markdown]
# ## One step
#
# To learn we need a number that says how wrong the answers are. The **cross entropy** of a picture is $-\log p$, where $p$ is
# the probability that the network gives to the right class. It is 0 if the network is sure and right. A network that shares
# its 100 % equally among ten classes has $-\log 0.1 = 2.3$.
#
# The **gradient** holds, for each of the 24,458 weights, how fast this number grows if the weight grows. One step of learning
# moves every weight a little against its gradient. The picture shows the 16 filters that we begin with. Their weights are
# random numbers, too.
#
# **Predict.** After one such step, is the cross entropy of the same 64 pictures lower? And are all 64 right?
#
# <details><summary>Answer</summary>
#
# It is a little lower. That is all that one step promises, and only if the step is short. The way to 98 % right is several
# hundred such steps, each computed from other pictures.
#
# </details>

# %%
images = untrained.preprocess(train_digits.pixels[:64])
truth = train_digits.targets[:64]
fresh.train()
loss = torch.nn.functional.cross_entropy(fresh(images), truth)
gradients = torch.autograd.grad(loss, list(fresh.parameters()))
with torch.no_grad():
    for weight, gradient in zip(fresh.parameters(), gradients, strict=True):
        weight -= 0.05 * gradient
    after = torch.nn.functional.cross_entropy(fresh(images), truth)
fresh.eval()
print(f"before the step {float(loss.detach()):.3f}, after it {float(after):.3f}")
tp.show(tp.filters(untrained, layer="features.0.0"))

# %%
here.holds(2.0 < float(loss.detach()) < 2.8, "the loss begins near log 10 = 2.3")
here.holds(float(after) < float(loss.detach()), "one short step makes it smaller")

# %% [markdown]
# ## Several hundred steps
#
# [tp.train](api:train) repeats this step. It takes 32 pictures at a time, in an order drawn by lot. When all pictures have
# had their turn, an **epoch** is over, and it looks at the pictures that were held out. Its steps are those of
# [Adam](bib:kingma2015adam), which gives each weight a step length of its own. The steps become shorter towards the end
# (`schedule="cosine"`), so that the weights come to rest.
#
# **Predict.** Two curves: the loss on the pictures that it learns from, and on those held out. Which one is lower at the end?
#
# <details><summary>Answer</summary>
#
# They end close together, and the held-out ones are not much worse. The broken line is measured *while* the weights change:
# it is the mean over an epoch, so in the first epochs it is often worse than the full line.
#
# </details>

# %%
history = tp.train(
    train_digits,
    validation=test_digits,
    epochs=here.quick(4, full=6),
    batch=32,
    learning_rate=3e-3,
    schedule="cosine",
)
print(history)
tp.show(history)

# %%
here.see(
    history.accuracy > here.quick(0.93, full=0.97),
    "more than 97 % of the held-out digits are right (93 % in a quick run)",
)
here.see(
    history.epochs[-1].validation_loss < history.epochs[0].validation_loss / 3,
    "the held-out loss fell to less than a third of what it was after one epoch",
)
again, twice = (tp.train(test_digits, epochs=1, seed=5).model.module for _ in range(2))
here.holds(
    all(
        torch.equal(a, b)
        for a, b in zip(again.parameters(), twice.parameters(), strict=True)
    ),
    "the same seed gives the same network, to the last bit",
)

# %% [markdown]
# ## What it gets wrong
#
# One number hides much. Look at the mistakes themselves, the surest first. The matrix beside them counts: a row is a digit, a
# column what it was called.
#
# **Predict.** Would you have read these digits correctly?
#
# <details><summary>Answer</summary>
#
# Some of them hardly: the pictures have 8 × 8 pixels, here enlarged to 32 × 32. Others are plain. Look at the probabilities:
# a mistake can come with a high one.
#
# </details>

# %%
mistakes = tp.check_predictions(
    history.model, test_digits, of="all", shows="wrong", n=12
)
print(mistakes)
tp.show(mistakes)

# %%
here.holds(
    abs(mistakes.accuracy - history.accuracy) < 0.01,
    "counting by hand gives the accuracy of the last epoch",
)
here.holds(
    bool((mistakes.truth != mistakes.predicted).all()),
    "all pictures that are shown are mistakes",
)

# %% [markdown]
# ## Watch the filters form
#
# Digits are grey: their filters have nothing to learn about colour. So we train a second SimpleCNN on
# [planted pictures](api:planted): coloured shapes on grass, water, wood or bricks. The figure has a row for each epoch and a
# column for each filter. Mid-grey is a weight of zero. The lowest row shows what training added to the random start.
#
# **Predict.** Will the filters look entirely different at the end? And will two neighbours become the same?
#
# <details><summary>Answer</summary>
#
# Each filter keeps something of its random start: the mean cosine with what it was stays clearly above 0 (two unrelated
# filters have about 0). What is added is mostly one colour over the whole 3 × 3 square: the filters come to tell coloured
# shapes from their backgrounds. They began at different places, so they end as different filters.
#
# </details>

# %%
classes = ("disc", "square", "star", "ring")
shapes = tp.planted("shapes", n=here.quick(800, full=2400), size=32, classes=classes)
formed = tp.train(
    shapes,
    epochs=here.quick(3, full=10),
    batch=32,
    learning_rate=0.01,
    schedule="cosine",
)
print(f"{formed.accuracy:.0%} of the held-out shapes are right")
tp.show(formed, view="filters")

# %%
first, last = formed.snapshots[0].flatten(1), formed.snapshots[-1].flatten(1)
own = torch.cosine_similarity(first, last)
others = torch.cosine_similarity(first, last.roll(1, 0))
print(f"like its own start {own.mean():.2f}, like another's {others.mean():.2f}")
here.see(float(own.mean()) < 0.95, "the filters have changed")
here.see(
    float(own.mean()) > float(others.mean()) + 0.3,
    "each is still more like its own start than like its neighbour's",
)


def one_color(filters):
    """The share of the filters' energy in the mean colour of each."""
    mean = filters.mean((2, 3), keepdim=True).expand_as(filters)
    return float((mean**2).sum() / (filters**2).sum())


grown = one_color(formed.snapshots[-1]) / one_color(formed.snapshots[0])
here.see(grown > 1.5, "one colour over the whole square has gained the most")

# %% [markdown]
# ## By heart
#
# Now the same network with the same settings, but only 40 digits to learn from.
#
# **Predict.** How many of its 40 pictures will it get right at the end? How many of the held-out ones?
#
# <details><summary>Answer</summary>
#
# All 40, and far fewer of the others. It has enough weights to know 40 pictures apart by anything that differs between them.
# Nothing in the loss asks for a reason that holds for other pictures, too. This is **overfitting**, and only pictures that
# were held out show it.
#
# </details>

# %%
few = (train_digits.pixels[:40], train_digits.targets[:40])
rote = tp.train(
    few,
    validation=test_digits,
    size=32,
    epochs=here.quick(20, full=40),
    batch=8,
    learning_rate=3e-3,
)
tp.show(rote)

# %%
end = rote.epochs[-1]
print(f"learned from: {end.train_accuracy:.0%} right, held out: {rote.accuracy:.0%}")
here.see(end.train_accuracy > 0.95, "it knows its 40 pictures")
here.see(rote.accuracy < history.accuracy - 0.1, "of other digits it knows far fewer")

# %% [markdown]
# ## Ask it about a cat
#
# The network knows ten digits and nothing else.
#
# **Predict.** What does it say of a photograph of a cat?
#
# <details><summary>Answer</summary>
#
# A digit. Its probabilities are shares of 100 % among ten names, and "none of these" is not among them. It was never asked to
# say so, and nothing in its training could have taught it.
#
# </details>

# %%
ready = history.model.preprocess(cat)
answers = tp.predict(history.model, ready, k=3)
tp.show(answers, pixels=history.model.denormalize(ready))

# %%
here.holds(
    answers[0][0].label in test_digits.classes, "whatever it sees, it names a digit"
)

# %% [markdown]
# ## Misconceptions
#
# * *"Training finds the right filters."* It finds filters that do, near the random ones it began with. Another seed gives
#   other filters and the same accuracy.
# * *"98 % of the training pictures are right, so it works."* Only pictures that it never learned from can say that.
# * *"A random network is undecided."* It gives nearly the same answer to everything.
# * *"The loss fell, so the accuracy rose."* The loss also falls when right answers become surer, and a few very sure mistakes
#   can make it rise while more answers become right.
# * *"More epochs are better."* Beyond some point they only teach the training pictures by heart.
#
# ## Formulas
#
# With logits $z$ and the right class $y$, the cross entropy of one picture is
#
# $$L = -\log p_y = -\log \frac{e^{z_y}}{\sum_{k} e^{z_k}}$$
#
# and its gradient by the logits is simply $\partial L / \partial z_k = p_k - [k = y]$: the right logit is pushed up by what
# is missing to 1, every other one is pushed down by its probability. A plain step with the learning rate $\eta$ changes the
# weights $w$ to
#
# $$w \leftarrow w - \eta \, \nabla_w L$$
#
# Adam divides by the usual size of each weight's own gradient $g$. With the running means $m$ of $g$ and $v$ of $g^2$
# (corrected for their start at zero) and a small $\varepsilon$:
#
# $$w \leftarrow w - \eta \, \frac{\hat m}{\sqrt{\hat v} + \varepsilon}$$
#
# ## On your own picture
#
#     tapetum lesson 3 --image my.jpg
#     tapetum train FOLDER --out net --schedule cosine --learning-rate 3e-3
#     tapetum explain my.jpg --model net
#
# FOLDER has one folder of pictures for each class. The lesson itself always trains SimpleCNN. `--arch resnet18` trains a
# larger network, which needs more pictures and more time. [How to train](howto:train) tells more. With few pictures of your
# own, [lesson 13](lesson:13) is the better way.
#
# ## References
#
# * [Kingma and Ba 2015](bib:kingma2015adam): Adam.
# * [Ioffe and Szegedy 2015](bib:ioffe2015batchnorm): batch normalisation, why such a network can be trained with long steps.
# * [Zhang et al. 2017](bib:zhang2017rethinking): networks can learn random labels by heart, so fitting proves nothing.
# * Next: [lesson 4](lesson:4), sensors on a layer.
