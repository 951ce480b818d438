"""What is wrong with a study file is one line."""

import pytest

from kdsearch.errors import StudyFileError
from kdsearch.study.file import load_study

# What a file says, and the words of the one line that it gets.
MISTAKES = {
    "a table that is not known": (
        "[trainng]\nepochs = 1",
        "mine.toml: unknown table or key 'trainng'; known, nearest first: training, ",
    ),
    "a key that is not known": (
        "[training]\nepochz = 1",
        "mine.toml [training]: unknown key 'epochz'; known, nearest first: epochs, ",
    ),
    "a key of a loss that is not known": (
        "[losses.kl]\ntemprature = 1",
        "mine.toml [losses.kl]: unknown key 'temprature'; known, nearest first: temperature",
    ),
    "text for a number": (
        '[training]\nepochs = "many"',
        "mine.toml [training]: epochs = 'many': must be a valid integer",
    ),
    "a fraction for an integer": (
        "[training]\nepochs = 1.5",
        "mine.toml [training]: epochs = 1.5: must be a valid integer",
    ),
    "a list with a word in it": (
        '[teacher]\nhead = [512, "many"]',
        "mine.toml [teacher]: head = [512, 'many']: must be a valid integer",
    ),
    "a layer without units": (
        "[teacher]\nhead = [512, 0]",
        "mine.toml [teacher]: head = [512, 0]: must be greater than or equal to 1",
    ),
    "one number for a list": (
        "[teacher]\nhead = 512",
        "mine.toml [teacher]: head = 512: must be a list",
    ),
    "two origins of one teacher": (
        '[teacher]\npretrained = true\ncheckpoint = "a.pt"',
        "mine.toml [teacher]: pretrained and checkpoint both say what the weights are; give one of them",
    ),
    "a teacher that is not there": (
        '[teachers.large]\n[distillation]\nteacher = ["large", "larg"]',
        "mine.toml [distillation]: teacher = 'larg': no teacher 'larg'; known, nearest first: large",
    ),
    "another teacher than the only one": (
        '[distillation]\nteacher = "large"',
        "mine.toml [distillation]: teacher = 'large': no teacher 'large'; known, nearest first: teacher",
    ),
    "a teacher twice in a sum": (
        '[teachers.a]\n[distillation]\nteacher = "a+a"',
        "mine.toml [distillation]: teacher = 'a+a': a teacher occurs twice in the sum",
    ),
    "a teacher that no trial has": (
        '[teachers.a]\n[teachers.b]\n[distillation]\nteacher = "a"',
        "mine.toml [teachers.b]: distillation.teacher does not list 'b'; list it or drop the table",
    ),
    "a feature map of an average": (
        '[teachers.a]\n[teachers.b]\n[distillation]\nloss = ["kl", "kl+at"]\nteacher = ["a", "a+b"]',
        "mine.toml [distillation]: teacher = 'a+b': at reads a feature map, which an average of teachers "
        "does not have; name one teacher, or drop the loss",
    ),
    "a teacher's name that is none": (
        '[teachers."a+b"]',
        "mine.toml: teachers.a+b: a name has letters, digits and _ only",
    ),
    "a teacher that is a word": (
        '[teachers]\na = "resnet18"',
        "mine.toml: teachers.a = 'resnet18': must be a table, [teachers.a]",
    ),
    "a key of one of the teachers": (
        "[teachers.a]\nepoch = 3",
        "mine.toml [teachers.a]: unknown key 'epoch'; known, nearest first: epochs, ",
    ),
    "a truth value for a number": (
        "[training]\nlearning_rate = true",
        "mine.toml [training]: learning_rate = True: must be a valid number",
    ),
    "a date": (
        "[training]\nepochs = 1979-05-27",
        "mine.toml [training]: epochs = datetime.date(1979, 5, 27): must be a valid integer",
    ),
    "a number out of bounds": (
        "[distillation]\nalpha = 1.5",
        "mine.toml [distillation]: alpha = 1.5: must be less than or equal to 1",
    ),
    "a number that is not finite": (
        "[training]\nlearning_rate = inf",
        "mine.toml [training]: learning_rate = inf: must be a finite number",
    ),
    "a word that is not allowed": (
        '[training]\noptimizer = "adm"',
        "mine.toml [training]: optimizer = 'adm': must be 'adamw', 'adam', 'sgd' or 'muon'",
    ),
    "a wrong word in a choice": (
        '[training]\noptimizer = ["sgd", "adm"]',
        "mine.toml [training]: optimizer = 'adm': must be 'adamw', 'adam', 'sgd' or 'muon'",
    ),
    "an empty choice": (
        "[training]\noptimizer = []",
        "mine.toml [training]: optimizer = []: a choice needs at least one value",
    ),
    "the same choice twice": (
        "[training]\nepochs = [3, 4, 3]",
        "mine.toml [training]: epochs: 3 occurs twice among the choices",
    ),
    "a range of text": (
        "[training]\noptimizer = { low = 1, high = 2 }",
        "mine.toml [training]: optimizer: a range fits numbers only; write one value, or a list of them",
    ),
    "a range upside down": (
        "[training]\nepochs = { low = 5, high = 2 }",
        "mine.toml [training]: epochs: low 5 is not below high 2",
    ),
    "a range without an end": (
        "[training]\nepochs = { low = 5 }",
        "mine.toml [training]: epochs: a range needs low and high, as in { low = 1, high = 10 }",
    ),
    "a range with another key": (
        "[training]\nepochs = { low = 5, hihg = 9 }",
        "mine.toml [training.epochs]: unknown key 'hihg'; known, nearest first: high, log, low",
    ),
    "a range beyond its bounds": (
        "[student]\nstages = { low = 2, high = 9 }",
        "mine.toml [student]: stages = 9: must be less than or equal to 4",
    ),
    "a logarithm of zero": (
        "[training]\nweight_decay = { low = 0.0, high = 1.0, log = true }",
        "mine.toml [training]: weight_decay: a log range must begin above 0, not at 0",
    ),
    "a log that is a word": (
        '[training]\nepochs = { low = 1, high = 3, log = "yes" }',
        "mine.toml [training]: epochs: log must be true or false, not 'yes'",
    ),
    "a family that is not known": (
        '[student]\nfamily = "dwsepp"',
        "mine.toml [student]: family = 'dwsepp': not a family; known, nearest first: dwsep, dwpw",
    ),
    "a loss that is not known": (
        '[distillation]\nloss = ["ce", "kll"]',
        "mine.toml [distillation]: loss = 'kll': 'kll' is not a loss; known, nearest first: kl, rkd",
    ),
    "a teacher called as all of them": (
        "[teachers.teacher]",
        "mine.toml: teachers.teacher: [teacher] is what all teachers share; take another name",
    ),
    "a sum twice, in two orders": (
        '[distillation]\nloss = ["kl+rkd", "rkd+kl"]',
        "mine.toml [distillation]: loss: 'kl+rkd' occurs twice among the choices",
    ),
    "an average twice, in two orders": (
        '[teachers.a]\n[teachers.b]\n[distillation]\nteacher = ["a+b", "b+a"]',
        "mine.toml [distillation]: teacher: 'a+b' occurs twice among the choices",
    ),
    "a last phase as long as the training": (
        "[training]\nepochs = [20, 40]\nfinish_epochs = 20",
        "mine.toml [training]: finish_epochs = 20 leaves nothing of 20 epochs; give fewer",
    ),
    "a map that the students do not have": (
        '[student]\nstages = 2\n[distillation]\nloss = "sp"\n[losses.sp]\nstudent_layer = "stage3"',
        "mine.toml [losses.sp]: student_layer = 'stage3': not every student has it; all have: middle, last, ",
    ),
    "a map that a published student does not have": (
        '[student]\nnetwork = ["searched", "s4"]\nstages = 4\n[distillation]\nloss = "sp"\n'
        '[losses.sp]\nstudent_layer = "stem"',
        "mine.toml [losses.sp]: student_layer = 'stem': not every student has it; all have: middle, last, ",
    ),
    "a loss twice in a sum": (
        '[distillation]\nloss = "kl+kl"',
        "mine.toml [distillation]: loss = 'kl+kl': a loss occurs twice in the sum",
    ),
    "a table for a family that is not listed": (
        '[student]\nfamily = "plain"\n[families.dwsep]\nkernel = 3',
        "mine.toml [families.dwsep]: student.family does not list 'dwsep'; list it or drop the table",
    ),
    "a table for a loss that is not listed": (
        '[distillation]\nloss = "ce"\n[losses.kl]\ntemperature = 2.0',
        "mine.toml [losses.kl]: distillation.loss does not list 'kl'; list it or drop the table",
    ),
    "a table for what is no loss": (
        "[losses.kll]",
        "mine.toml [losses]: unknown table 'kll'; known, nearest first: kl",
    ),
    "a searched value where all trials share one": (
        "[teacher]\nepochs = [10, 20]",
        "mine.toml [teacher]: epochs: has one value for the whole study; it cannot be searched",
    ),
    "a range where all trials share one value": (
        "[data]\nvalidation = { low = 0.1, high = 0.2 }",
        "mine.toml [data]: validation: has one value for the whole study; it cannot be searched",
    ),
    "a value for a table": ("training = 3", "mine.toml: training = 3: must be a table, [training]"),
    "a value for a table in a table": (
        "[families]\nplain = 3",
        "mine.toml: families.plain = 3: must be a table, [families.plain]",
    ),
    "workers that are no number": (
        '[run]\nworkers = "many"',
        'mine.toml [run]: workers = \'many\': must be "auto", or a number of at least 1 as text, such as "4"',
    ),
    "a negative seed": ("seed = -1", "mine.toml: seed = -1: must be from 0 to 9223372036854775807"),
    "a seed beyond 63 bits": (f"seed = {2**63}", f"mine.toml: seed = {2**63}: must be from 0 to {2**63 - 1}"),
    "a number of thousands of digits": (
        f"seed = {'9' * 5000}",
        "mine.toml: not valid TOML: Exceeds the limit",
    ),
    "brackets in thousands": (f"seed = {'[' * 5000}", "mine.toml: not valid TOML: "),
    "a seed that is no number": ('seed = "a"', "mine.toml: seed = 'a': must be an integer"),
    "a name that is no text": ("name = 3", "mine.toml: name = 3: must be text"),
    "a name with a slash": (
        'name = "a/b"',
        "mine.toml: name = 'a/b': must not hold /, since it names a folder; --name gives another",
    ),
    "a key with a line break": (
        '["a\\nb"]',
        "mine.toml: unknown table or key 'a\\nb'; known, nearest first: ",
    ),
    "what is not TOML": ("[training\nepochs = 3", "mine.toml: not valid TOML: "),
}


@pytest.mark.parametrize(("text", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_names_file_table_key_and_cure(study, text, line):
    with pytest.raises(StudyFileError) as told:
        study(text)
    assert str(told.value).startswith(line)
    assert "\n" not in str(told.value)
    assert told.value.exit_code == 2


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StudyFileError, match=r"nothing\.toml: cannot be read: No such file or directory$"):
        load_study(str(tmp_path / "nothing.toml"), {})


def test_a_folder_is_no_study_file(tmp_path):
    with pytest.raises(StudyFileError, match=r"cannot be read: Is a directory$"):
        load_study(str(tmp_path), {})


def test_a_file_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_bytes(b'name = "\xff\xfe"')
    with pytest.raises(StudyFileError, match=r"mine\.toml: not a text file in UTF-8; save it"):
        load_study(str(file), {})


def test_a_study_that_is_not_shipped_gets_the_nearest_name(tmp_path):
    with pytest.raises(StudyFileError, match=r"^digit: no shipped study; known, nearest first: digits, "):
        load_study("digit", {})


@pytest.mark.parametrize(
    ("key", "line"),
    {
        "training.epochz": r"mine\.toml \[training\]: unknown key 'epochz'; known, nearest first: epochs, ",
        "training.epochs.low": r"mine\.toml: --set training\.epochs\.low: epochs is not a table$",
        "training": r"mine\.toml: training = 5: must be a table, \[training\]$",
        "a..b": r"mine\.toml: unknown table or key 'a'; known, nearest first: ",
    }.items(),
)
def test_a_replaced_value_is_checked_like_the_file_s(study, key, line):
    with pytest.raises(StudyFileError, match=f"^{line}"):
        study("[training]\nepochs = 3", **{key: 5})
