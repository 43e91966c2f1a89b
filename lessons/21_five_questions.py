# %% [markdown]
# # 21 · Five questions, answered by measuring
#
# **Found**: what is true of a network, and not only of networks in general? · about 20 minutes · needs
# [lesson 5](lesson:5) and [lesson 15](lesson:15)
#
# You will
#
# * meet five questions that every course asks about convolutional networks, and that are mostly answered from memory
# * measure each answer, with an interval, on a network that you have trained
# * put a network with random weights beside it, and find which of the famous answers need no learning at all
# * learn to ask of a sentence what would make it false

# %%
import tapetum as tp
from tapetum.course import start

here = start(21)
animals = {"kind": "objects", "size": 48, "classes": ("husky", "wolf"), "rate": 0.5}
snow = {"shortcut": "background", "backgrounds": ("grass", "snow")}
pictures = here.data(tp.planted(n=here.quick(60, full=100), seed=1, **animals, **snow))

# %% [markdown]
# ## Five questions
#
# *How do late layers differ from early ones? Where is space lost? Are filters redundant? Why do inversions of deep layers look
# abstract? What are the features good for?* The usual answers are: from edges to objects; by pooling; yes; since deep layers
# are invariant; for other tasks. Each of them is a sentence about *some* networks. Is it true of yours?
#
# We need a network and pictures. The network learns to tell a husky from a wolf, on either ground by lot, so that the ground
# tells nothing ([lesson 12](lesson:12)). The questions are asked on new pictures.

# %%
if here.own_model:
    network = here.model()
else:
    n = here.quick(300, full=600)
    training = tp.planted(n=n, **animals, **snow)
    how = {"epochs": here.quick(10, full=12), "batch": 16, "learning_rate": 4e-3}
    history = tp.train(training, schedule="cosine", validation=0.1, **how)
    network = history.model
    print(f"{history.epochs[-1].validation_accuracy:.0%} right on held out pictures")
how = {"n": here.quick(60, full=100), "twins": 5}
how |= {"inverted": 3, "n_steps": here.quick(10, full=40)}
answers = tp.five_questions(network, pictures, **how)
here.holds(len(answers) == 5, "five questions have five answers")
tp.show(answers)

# %% [markdown]
# A line with a band is the network, with its interval of 95 %. The dashed line is the same architecture with random weights,
# drawn several times, and its band is where one more such network would lie. **What both lines have was not learned.**
#
# ## How do late layers differ from early ones?
#
# Two numbers for each layer. How often is a picture more like another of its class than like one of the other class? Half of
# the time by chance. And how much of what differs between pictures is simply their brightness, colours and edges?
#
# **Predict.** Which of the two numbers changes with depth in the network with random weights, too?
#
# <details><summary>Answer</summary>
#
# The second. Random filters mix and cut, so that brightness and colours get harder to read from layer to layer, without any
# learning. The first stays near one half: without learning, deep layers know no more about the class than early ones. "Late
# layers are more abstract" is partly true of noise.
#
# </details>

# %%
hierarchy = answers.of("hierarchy")
print(hierarchy)
here.see(
    hierarchy.verdict == "yes",
    "classes come apart with depth, and random weights do not do that",
)
tp.show(hierarchy)

# %% [markdown]
# ## Where is space lost?
#
# A thing is put at a random place of an empty ground, and a linear reader looks for it: in the map of each layer, and in the
# answer. Then we ask the other way round: does what follows care? The places of a layer are shuffled like cards, and the
# answers are compared with those before.
#
# **Predict.** This network ends in a pooling of neighbours and a mean over all places. How much do the answers change when the
# places of its last map are shuffled?
#
# <details><summary>Answer</summary>
#
# Hardly: a mean does not know an order (without the pooling before it, they would be the same to the last digits). Yet the
# last map itself still tells where the thing is. Space is not lost step by step by the many small poolings: it is there
# until the one operation that throws it away, with random weights as well. Why is that good? Husky is husky wherever it
# stands, and nobody had to learn that.
#
# </details>

# %%
space = answers.of("space")
print(space.sentence)
where, *_ = space.curves
here.see(float(where.values[-2]) > 0.5, "the last map still tells where the thing is")
here.see(float(where.values[-1]) < 0.5, "the answer does not")
tp.show(space)

# %% [markdown]
# ## Are filters redundant?
#
# "Directions in use" counts how many independent patterns the channels of a layer have: all channels alike give one, all
# different give as many as there are. "Directions that keep the answers" is an experiment: the layer is replaced by its few
# strongest directions, fewer and fewer, until the answers change.
#
# The answer says whether the layer is *more* redundant than the same layer with random weights. A sentence such as "a quarter
# suffices" sounds like something that learning has done. Look at the dashed line before you believe it.

# %%
redundancy = answers.of("redundancy")
print(redundancy.sentence)
kept = redundancy.numbers.get("keep", 1.0)
here.see(kept < 1, f"{kept:.0%} of the directions of one layer keep the answers")
tp.show(redundancy)

# %% [markdown]
# ## Why do deep inversions look abstract?
#
# Three explanations are told. *The layer has too few numbers.* *It has learned to ignore what is missing.* *The search has
# failed.* They can be told apart: by counting, by the same inversion with random weights, and by asking the layer whether it
# still sees a difference ([lesson 15](lesson:15)).

# %%
abstraction = answers.of("abstraction")
print(abstraction.sentence)
here.see(
    abstraction.numbers["like_last"] < abstraction.numbers["like_first"],
    "deeper inversions are less like the photograph",
)
tp.show(abstraction)

# %% [markdown]
# ## What are the features good for?
#
# The simplest use: find the most similar other picture. Is it of the same class? Chance, the bare pixels and random weights
# are the bars to beat. Whoever beats them has features on which a small classifier for your classes can be built.
#
# Look at the bars before you praise the features: of these drawn animals, pixels and random filters tell most apart already.
# What is above *their* line was learned.

# %%
uses = answers.of("uses")
print(uses.sentence)
ours, bars = (
    uses.numbers["same_class"],
    [uses.numbers[bar] for bar in ("pixels", "random")],
)
here.see(
    ours > max(bars),
    "the features tell the classes apart better than pixels and random weights",
)
tp.show(uses)

# %% [markdown]
# ## The control: a network that has learned nothing
#
# A measurement that says "yes" to everything says nothing. So we ask the same questions of a network with random weights.

# %%
nothing = tp.five_questions(tp.untrained(network, seed=7), pictures, **how)
for one in nothing:
    print(one.topic, one.verdict)
claims = [
    one.topic
    for one in nothing
    if one.verdict == "yes" and one.topic in ("hierarchy", "uses")
]
here.see(not claims, "it has no hierarchy, and is good for nothing beyond the bars")
tp.show(nothing.of("uses"))

# %% [markdown]
# ## Misconceptions
#
# * *"Layers go from edges to objects."* Of a trained network, on its kind of pictures. Measure it on yours.
# * *"Pooling loses space."* A map of 7 × 7 still tells places well within a cell, by the amounts. What loses space is what
#   does not care for the order.
# * *"A quarter of the directions suffices, so three quarters of the filters can go."* Directions are mixtures of filters. And
#   rare pictures may need what these did not.
# * *"The inversion shows what the layer sees."* It shows one picture that the layer cannot tell from yours. If the layer still
#   sees a difference, it shows the limits of the search.
# * *"The features are good, so the network is right."* They may be good for the wrong reason: a ground that goes with the class
#   makes good neighbours, too ([lesson 12](lesson:12)).
#
# ## Formulas
#
# The order of classes, with $s_{ij}$ the cosine of the standardised features of pictures $i$ and $j$ of classes $y_i$, $y_j$:
#
# $$ \mathrm{order} = \operatorname{mean}_i\, P\big(s_{ij} > s_{ik} \mid y_j = y_i \ne y_k\big) $$
#
# The place that can be read, $\hat y$ of a linear reader that did not see the picture:
#
# $$ R^2 = 1 - \frac{\sum |y - \hat y|^2}{\sum |y - \bar y|^2} $$
#
# Directions in use of $c$ channels with the variances $\lambda_1, \dots, \lambda_c$ along their principal directions:
#
# $$ \frac{1}{c} \frac{(\sum_i \lambda_i)^2}{\sum_i \lambda_i^2} $$
#
# Where one more of $t$ random networks would lie, with mean $m$ and standard deviation $s$ of theirs, and Student's quantile
# $q$: $\; m \pm q\, s \sqrt{1 + 1/t}$.
#
# ## On your own picture
#
#     tapetum lesson 21 --model resnet50 --data photos
#     tapetum questions photos --model resnet50 --out answers
#
# `photos` is a folder with a folder per class, of twenty pictures or more; without class folders the two questions about
# classes are left out. [How to read the page](howto:questions).
#
# ## References
#
# * [Zeiler and Fergus 2014](bib:zeiler2014deconvnet): what layers answer to, from early to deep.
# * [Mahendran and Vedaldi 2015](bib:mahendran2015inversion): inversions, and what they lose with depth.
# * [Adebayo et al. 2018](bib:adebayo2018sanity): why random weights belong beside every claim about learned ones.
