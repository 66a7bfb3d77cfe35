"""The same tale in Chinese: other words for the same facts, other ways to tell it."""

from llama_mini.data.stories.chinese_words import CLASSIFIERS, OUTCOMES
from llama_mini.data.stories.grammar import Rule
from llama_mini.data.stories.world import FACTS


def outcome(topic: str, kind: bool, ending: str, result: int) -> list[str]:
    """How the day turns out."""
    return [OUTCOMES[topic, kind, ending][result]]


PHRASES = {
    "she": Rule({"she": ["她"], "he": ["他"]}, "pronoun"),
    "one": Rule(
        {species: [f"一{CLASSIFIERS.get(species, '只')}"] for species in FACTS["species"].rows}, "species"
    ),
    "happy": Rule(["高兴", "快乐", "开心"]),
    "sad": Rule(["难过", "伤心", "不高兴"]),
    "afraid": Rule(["怕", "急"]),
    "kindly": Rule(["好心的", "热心的"]),
    "cruel": Rule(["坏心的", "心冷的"]),
    "tempered": Rule({True: ["{kindly}"], False: ["{cruel}"]}, "kind"),
    "chinese": Rule(["{opening}{trouble}{attempting}{meeting}{outcome}{end}{lesson}"]),
    "opening": Rule(
        [
            "从前有{one}{size}的{species}，名叫{hero}，住在{place}。",
            "{hero}是{one}{size}的{species}，住在{place}。",
            "很久以前，{place}住着{one}{size}的{species}，名叫{hero}。",
        ]
    ),
    "trouble": Rule(
        [
            "{season}的一天，{problem}，因为{cause}。",
            "那年{season}，{problem}，因为{cause}。",
            "{season}来了。有一天，{problem}，因为{cause}。",
        ]
    ),
    "attempting": Rule(
        {False: [""], True: ("{she}很{afraid}，{attempt}。", "{hero}{attempt}。", "那时{she}{attempt}。")},
        "tried",
    ),
    "meeting": Rule(
        [
            "后来来了一个{tempered}{helper}，{act}。",
            "这时一个{tempered}{helper}看到{hero}，{act}。",
            "一个{helper}走来，说：“{line}。”{tempered}{helper}{act}。",
        ]
    ),
    "line": Rule({True: ("别怕", "我来帮你"), False: ("走开", "没有人要你")}, "kind"),
    "outcome": Rule(outcome, "topic", "kind", "ending", "result"),
    "end": Rule(
        {
            "happy": (
                "从那天起，{she}很{happy}。",
                "{hero}又{happy}了。",
                "那一夜，{she}很{happy}，睡得很好。",
            ),
            "sad": ("从那天起，{she}很{sad}。", "{hero}{sad}了很久。", "那一夜，{she}很{sad}，睡不着。"),
        },
        "ending",
    ),
    "lesson": Rule(["这个故事告诉我们：{moral}。", "人们说：{moral}。"]),
}
