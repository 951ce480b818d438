import pytest
import torch

from kdsearch.engine.optimizers import Average


@pytest.mark.parametrize("ema_epochs", [0.01, 0.5, 2.0])
def test_it_is_the_exponential_moving_average_of_the_weights_after_each_step(training, ema_epochs):
    run = training(ema_epochs=ema_epochs)
    after_each_step = []
    step = run.schedule.step
    run.schedule.step = lambda: (
        step(),
        after_each_step.append([tensor.double().clone() for tensor in run.network.state_dict().values()]),
    )
    for _ in run:
        pass
    horizon = max(1.0, 3 * ema_epochs)
    expected = after_each_step[0]
    for weights in after_each_step[1:]:
        expected = [old + (new - old) / horizon for old, new in zip(expected, weights, strict=True)]
    assert len(after_each_step) == 9
    for (name, tensor), wanted in zip(run.final.state_dict().items(), expected, strict=True):
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), wanted, rtol=1e-5, atol=1e-6, msg=name)
        else:
            assert tensor == 9


def test_it_follows_wholly_when_told_to():
    network = torch.nn.BatchNorm1d(3)
    average = Average(network, horizon=10)
    with torch.no_grad():
        network.weight.fill_(3.0)
    network.num_batches_tracked += 4
    average.follow(wholly=True)
    assert torch.equal(average.network.weight, network.weight)
    with torch.no_grad():
        network.weight.fill_(13.0)
    average.follow(wholly=False)
    assert average.network.weight.tolist() == [4.0, 4.0, 4.0]
    assert average.network.num_batches_tracked == 4
