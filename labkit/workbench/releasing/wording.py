"""The words around the notebooks of a release, in the languages that there are."""

from dataclasses import dataclass

from labkit.workbench.names import unknown


@dataclass(frozen=True)
class Wording:
    """The words of one language; `question` and `line` are filled in for each question and notebook."""

    question: str
    placeholder: str
    points: str
    due: str
    here: str
    beside: str
    work: str
    named: str
    hand_in: str


WORDINGS = {
    "en": Wording(
        question="**Question** ({points} points)",
        placeholder="*Write your answer here, in place of this line.*",
        points="{points} points",
        due="due {moment}",
        here="What is here",
        beside="settings of the course; leave it beside the notebooks",
        work="""\
How to work on it
  1. Install the course once:  pip install "llm-labkit[lab] @ git+{repository}"
  2. Open a terminal in this folder:  jupyter lab
  3. Replace the ... below @labkit.check(...) with your answer and run the cell; it is checked at once.
     labkit.hint("...") with the name of the exercise gives a hint.""",
        named="""\
  4. You have numbers of your own: write your number or name, as your teacher has it, into the cell that begins with
     student = at the top of each notebook, and run it.""",
        hand_in="""\
How to hand in
  Save the notebooks and hand in the .ipynb files, alone or as one zip. Keep their names. You may add cells, but
  do not delete or move those with an exercise or a question, and do not change the locked ones. What counts is
  what stands in the saved file: outputs do not matter.""",
    ),
    "de": Wording(
        question="**Frage** ({points} Punkte)",
        placeholder="*Schreiben Sie Ihre Antwort hierher, anstelle dieser Zeile.*",
        points="{points} Punkte",
        due="bis {moment}",
        here="Was hier liegt",
        beside="Einstellungen des Kurses; bitte neben den Notebooks liegen lassen",
        work="""\
So arbeiten Sie damit
  1. Den Kurs einmal installieren:  pip install "llm-labkit[lab] @ git+{repository}"
  2. Ein Terminal in diesem Ordner öffnen:  jupyter lab
  3. Ersetzen Sie die ... unter @labkit.check(...) durch Ihre Antwort und führen Sie die Zelle aus; sie wird sofort
     geprüft. labkit.hint("...") mit dem Namen der Aufgabe gibt einen Hinweis.""",
        named="""\
  4. Sie haben eigene Zahlen: Schreiben Sie Ihre Nummer oder Ihren Namen, wie Ihre Lehrkraft ihn hat, in die Zelle, die
     oben in jedem Notebook mit student = beginnt, und führen Sie sie aus.""",
        hand_in="""\
So geben Sie ab
  Speichern Sie die Notebooks und geben Sie die .ipynb-Dateien ab, einzeln oder als ein ZIP. Behalten Sie ihre Namen
  bei. Sie dürfen Zellen hinzufügen, aber löschen und verschieben Sie keine mit einer Aufgabe oder Frage, und ändern
  Sie die gesperrten nicht. Es zählt, was in der gespeicherten Datei steht; Ausgaben spielen keine Rolle.""",
    ),
    "zh": Wording(
        question="**问题**（{points} 分）",
        placeholder="*请把这一行换成你的回答。*",
        points="{points} 分",
        due="截止 {moment}",
        here="文件",
        beside="课程设置，请与笔记本放在同一文件夹",
        work="""\
怎样做
  1. 安装一次课程：  pip install "llm-labkit[lab] @ git+{repository}"
  2. 在本文件夹打开终端：  jupyter lab
  3. 把 @labkit.check(...) 下面的 ... 换成你的答案，运行单元格，立即得到检查结果。
     labkit.hint("...")（写上题目的名字）给出提示。""",
        named="""\
  4. 每个人的数字不同：在每个笔记本开头以 student = 开始的单元格里写上你的学号或姓名（与老师的名单一致），再运行它。""",
        hand_in="""\
怎样提交
  保存笔记本，提交 .ipynb 文件，可以单独提交，也可以打包成一个 zip。请不要改文件名。可以增加单元格，
  但不要删除或移动有题目的单元格，也不要修改锁定的单元格。以保存的文件内容为准，输出不影响成绩。""",
    ),
}


def wording(language: str | None) -> Wording:
    """Give the words of a language; without one, English.

    Raises:
        ValueError: if there is no such language.
    """
    if (language or "en") not in WORDINGS:
        raise ValueError(unknown("language", str(language), WORDINGS))
    return WORDINGS[language or "en"]
