import subprocess
import sys

PROGRAM = """
import sys
import torch
from kdsearch.engine.lean import stay_lean
from kdsearch.engine.optimizers import OPTIMIZERS

if {lean}:
    stay_lean()
torch.manual_seed(0)
for make in OPTIMIZERS.values():
    layer = torch.nn.Linear(4, 3)
    optimizer = make(layer.parameters(), 0.1, 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    print([value.hex() for value in layer.weight.detach().flatten().tolist()])
print("sympy" in sys.modules)
"""


def lines_of(lean):
    told = subprocess.check_output([sys.executable, "-c", PROGRAM.format(lean=lean)], text=True)
    return told.splitlines()


def test_a_lean_process_trains_the_same_without_torchs_compiler():
    *lean, lean_has_compiler = lines_of(lean=True)
    *usual, usual_has_compiler = lines_of(lean=False)
    assert lean == usual
    assert (lean_has_compiler, usual_has_compiler) == ("False", "True")
