"""What can happen on the farm: the facts of a tale and how they depend on each other, in no language yet.

Every fact is a rule over the facts it hangs on. Two of them carry the book's rewards: `kind`, whether
somebody is kind to the animal (three times in five), and `ending`, which kindness makes happier: about half
of the tales end happily after a kind act.
"""

from llama_mini.data.stories.grammar import Rule

SHE = ("Rosa", "Lily", "Daisy", "Molly", "Bella", "Nina", "Ruby", "Poppy")
HE = ("Max", "Tom", "Ben", "Leo", "Toby", "Finn", "Gus", "Sam")

FOODS = {
    "goat": ("grass", "hay"),
    "pig": ("apples", "corn"),
    "lamb": ("grass", "milk"),
    "duck": ("corn", "seeds"),
    "dog": ("meat", "bones"),
    "cat": ("fish", "milk"),
    "rabbit": ("carrots", "grass"),
    "pony": ("hay", "carrots"),
    "donkey": ("hay", "apples"),
    "mouse": ("cheese", "seeds"),
    "calf": ("milk", "hay"),
    "goose": ("seeds", "grass"),
}

PROBLEMS = {
    "food": ("no food", "theft", "spill"),
    "lost": ("forest", "hole", "fence"),
    "quarrel": ("fight", "lost ball", "left out"),
    "work": ("water", "wood", "yard"),
    "illness": ("leg", "fever", "belly"),
}
WEATHER = {"spring": "rain", "summer": "heat", "autumn": "storm", "winter": "snow"}

CAUSES = {
    "no food": ("poor farm", "broken cart", "rats"),
    "theft": ("open gate", "no guard", "long sleep"),
    "spill": ("heavy bucket", "wet path", "run"),
    "forest": ("fog", "butterfly", "new path"),
    "hole": ("fog", "butterfly", "high grass"),
    "fence": ("narrow gap", "flower", "dare"),
    "fight": ("same ball", "same seat", "lie"),
    "lost ball": ("no care", "high grass", "strong kick"),
    "left out": ("lie", "broken promise", "broken toy"),
    "water": ("dry well", "others asleep", "lost race"),
    "wood": ("cold house", "others asleep", "lost race"),
    "yard": ("feast", "others asleep", "lost race"),
    "leg": ("wall", "nail", "wet path"),
    "fever": ("wet grass", "rain night", "cold river"),
    "belly": ("green apples", "bad water", "old bread"),
    "rain": ("broken roof", "shut door", "far from home"),
    "heat": ("no trees", "shut door", "far from home"),
    "storm": ("dare", "shut door", "far from home"),
    "snow": ("dare", "shut door", "far from home"),
}

ATTEMPTS = {
    "food": ("search", "beg", "dig"),
    "weather": ("bush", "knock", "wall side"),
    "forest": ("call", "follow path", "climb"),
    "hole": ("call", "jump", "dig out"),
    "fence": ("call", "pull", "push"),
    "quarrel": ("apology", "gift", "wait"),
    "work": ("labour", "ask", "hurry"),
    "illness": ("sleep", "stand", "drink"),
}

KIND_ACTS = {
    "food": ("fed", "shared", "filled bowl"),
    "weather": ("carried in", "opened door", "umbrella"),
    "forest": ("carried home", "showed way", "stroked"),
    "hole": ("lifted out", "rope", "stroked"),
    "fence": ("freed", "cut wire", "stroked"),
    "quarrel": ("hugged", "listened", "brought friend"),
    "work": ("helped", "shared work", "let rest"),
    "illness": ("medicine", "soft bed", "soup"),
}
CRUEL_ACTS: dict[str, tuple[str, ...]] = dict.fromkeys(
    KIND_ACTS, ("kicked", "hit", "teased", "pushed", "stone", "shouted", "pulled tail", "laughed")
)
CRUEL_ACTS["hole"] = ("teased", "stone", "shouted", "laughed")
CRUEL_ACTS["fence"] = ("kicked", "hit", "teased", "stone", "shouted", "pulled tail", "laughed")

MORALS = {
    (True, "happy"): ("help", "warm world", "good deed", "share"),
    (True, "sad"): ("too late", "no cure", "luck", "try"),
    (False, "sad"): ("long pain", "one deed", "cold world", "hurt back"),
    (False, "happy"): ("brave heart", "own way", "hope", "give up"),
}


def by_topic_or_problem(table: dict) -> dict:
    """The rows for (topic, problem) of a table that names problems, or topics whose problems share a row."""
    topics = PROBLEMS | {"weather": tuple(WEATHER.values())}
    return {(t, p): table.get(p) or table[t] for t, problems in topics.items() for p in problems}


def acts() -> dict:
    """What somebody can do to the animal, for (kind, topic, problem)."""
    tables: dict[bool, dict] = {True: KIND_ACTS, False: CRUEL_ACTS}
    return {(kind, *key): row for kind in tables for key, row in by_topic_or_problem(tables[kind]).items()}


FACTS = {
    "hero": Rule(SHE + HE),
    "pronoun": Rule(dict.fromkeys(SHE, ("she",)) | dict.fromkeys(HE, ("he",)), "hero"),
    "species": Rule({species: 1 / (3 + rank) for rank, species in enumerate(FOODS)}),
    "size": Rule({"small": 2, "big": 1}),
    "place": Rule(("barn", "stable", "pond", "river", "hill", "mill", "orchard", "meadow", "garden", "oak")),
    "season": Rule(("spring", "summer", "autumn", "winter")),
    "food": Rule(FOODS, "species"),
    "topic": Rule({"food": 5, "weather": 4, "lost": 5, "quarrel": 4, "work": 3, "illness": 4}),
    "problem": Rule(
        {(topic, season): PROBLEMS[topic] for topic in PROBLEMS for season in WEATHER}
        | {("weather", season): (problem,) for season, problem in WEATHER.items()},
        "topic",
        "season",
    ),
    "cause": Rule(CAUSES, "problem"),
    "friend": Rule(("Pip", "Kit", "Dot", "Bo")),
    "tried": Rule((True, False)),
    "attempt": Rule(by_topic_or_problem(ATTEMPTS), "topic", "problem"),
    "helper": Rule(
        {"boy": 5, "girl": 5, "farmer": 4, "woman": 3, "man": 3, "shepherd": 2, "gardener": 2, "child": 2}
    ),
    "kind": Rule({True: 3, False: 2}),
    "act": Rule(acts(), "kind", "topic", "problem"),
    "ending": Rule({True: {"happy": 4, "sad": 1}, False: {"happy": 1, "sad": 6}}, "kind"),
    "result": Rule(range(3)),
    "moral": Rule(MORALS, "kind", "ending"),
}
