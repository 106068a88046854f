"""Two small grammars whose sentences have one derivation each, so that the entropy of derivations is that of sentences.

English: subject and verb agree in number across adjectives, a place ("near the barn") or a relative clause ("that sees
the cat"). Four words back are nearly always enough to know what may follow; one word is not.
Chinese: the classifier chooses its noun across adjectives (一匹…的马, 一座…的城) and the verb chooses the classifier.
"""

from labkit.corpora.grammar import Grammar, Rule


def _words(words: str) -> tuple[Rule, ...]:
    """Return rules that write one word each, the n-th in proportion to 1 / (n + 1): few common, many rare."""
    listed = words.split()
    weights = [1 / (rank + 2) for rank in range(len(listed))]
    return tuple((weight / sum(weights), (word,)) for word, weight in zip(listed, weights, strict=True))


_ADJECTIVES = "old small young brown clever"
_SINGULAR = "dog cat horse bird fox mouse"
_PLURAL = "dogs cats horses birds foxes mice"

ENGLISH = Grammar(
    {
        "S": ((0.6, ("SUBJECT_SG", "PREDICATE_SG")), (0.4, ("SUBJECT_PL", "PREDICATE_PL"))),
        "SUBJECT_SG": ((0.6, ("NP_SG",)), (0.22, ("NP_SG", "PLACE")), (0.18, ("NP_SG", "CLAUSE_SG"))),
        "SUBJECT_PL": ((0.6, ("NP_PL",)), (0.22, ("NP_PL", "PLACE")), (0.18, ("NP_PL", "CLAUSE_PL"))),
        "NP_SG": ((1.0, ("DET_SG", "NOMINAL_SG")),),
        "NP_PL": ((1.0, ("DET_PL", "NOMINAL_PL")),),
        "NOMINAL_SG": ((0.75, ("NOUN_SG",)), (0.25, ("ADJ", "NOMINAL_SG"))),
        "NOMINAL_PL": ((0.75, ("NOUN_PL",)), (0.25, ("ADJ", "NOMINAL_PL"))),
        "PLACE": ((1.0, ("PREP", "THE", "NOUN_PLACE")),),
        "CLAUSE_SG": ((1.0, ("THAT", "VERB_T_SG", "THE", "NOUN_SG")),),
        "CLAUSE_PL": ((1.0, ("THAT", "VERB_T_PL", "THE", "NOUN_SG")),),
        "PREDICATE_SG": ((0.4, ("VERB_I_SG",)), (0.15, ("VERB_I_SG", "ADVERB")), (0.45, ("VERB_T_SG", "OBJECT"))),
        "PREDICATE_PL": ((0.4, ("VERB_I_PL",)), (0.15, ("VERB_I_PL", "ADVERB")), (0.45, ("VERB_T_PL", "OBJECT"))),
        "OBJECT": (
            (0.4, ("DET_SG", "NOUN_SG")),
            (0.15, ("DET_SG", "ADJ", "NOUN_SG")),
            (0.35, ("DET_PL", "NOUN_PL")),
            (0.1, ("DET_PL", "ADJ", "NOUN_PL")),
        ),
        "DET_SG": _words("the every this"),
        "DET_PL": _words("the some these"),
        "ADJ": _words(_ADJECTIVES),
        "NOUN_SG": _words(_SINGULAR),
        "NOUN_PL": _words(_PLURAL),
        "NOUN_PLACE": _words("barn river house"),
        "PREP": _words("near behind in"),
        "THE": _words("the"),
        "THAT": _words("that"),
        "VERB_T_SG": _words("sees follows likes"),
        "VERB_T_PL": _words("see follow like"),
        "VERB_I_SG": _words("sleeps runs waits"),
        "VERB_I_PL": _words("sleep run wait"),
        "ADVERB": _words("quietly today often"),
    }
)

CHINESE = Grammar(
    {
        "S": ((0.75, ("SUBJECT", "PREDICATE", "STOP")), (0.25, ("SUBJECT", "TIME", "PREDICATE", "STOP"))),
        "SUBJECT": ((0.6, ("NAME",)), (0.4, ("PERSON",))),
        "PERSON": ((1.0, ("COUNT", "CL_PERSON", "PERSON_NOMINAL")),),
        "PERSON_NOMINAL": ((0.65, ("N_PERSON",)), (0.35, ("ADJ", "OF", "PERSON_NOMINAL"))),
        "PREDICATE": (
            (0.2, ("V_ALONE",)),
            (0.2, ("V_MEET", "PERSON_OBJECT")),
            (0.22, ("V_RIDE", "HORSE")),
            (0.2, ("V_ATTACK", "CITY")),
            (0.18, ("V_HOLD", "BLADE")),
        ),
        "PERSON_OBJECT": ((0.6, ("NAME",)), (0.4, ("COUNT", "CL_PERSON", "N_PERSON"))),
        "HORSE": ((0.6, ("COUNT", "CL_HORSE", "N_HORSE")), (0.4, ("COUNT", "CL_HORSE", "ADJ", "OF", "N_HORSE"))),
        "CITY": ((0.6, ("COUNT", "CL_CITY", "N_CITY")), (0.4, ("COUNT", "CL_CITY", "ADJ", "OF", "N_CITY"))),
        "BLADE": ((0.6, ("COUNT", "CL_BLADE", "N_BLADE")), (0.4, ("COUNT", "CL_BLADE", "ADJ", "OF", "N_BLADE"))),
        "NAME": _words("曹操 刘备 关羽 张飞 孙权 赵云 吕布 周瑜"),
        "TIME": _words("今日 次日 连夜"),
        "COUNT": _words("一 三 那"),
        "ADJ": _words("高大 古老 漂亮 有名"),
        "OF": _words("的"),
        "CL_PERSON": _words("位"),
        "CL_HORSE": _words("匹"),
        "CL_CITY": _words("座"),
        "CL_BLADE": _words("把"),
        "N_PERSON": _words("将军 谋士 使者 少年"),
        "N_HORSE": _words("马 战马 骏马"),
        "N_CITY": _words("城 山 关隘"),
        "N_BLADE": _words("刀 剑 弓"),
        "V_ALONE": _words("大笑 不语 退兵"),
        "V_MEET": _words("拜见 遇见"),
        "V_RIDE": _words("骑着 牵来"),
        "V_ATTACK": _words("攻打 守住"),
        "V_HOLD": _words("提着 举起"),
        "STOP": _words("。"),
    }
)
