"""What a run would cost: summed up by experiment, what is done left out, a trained model's state counted."""

from ablations.harness.cell import Capacity, PeakMemory
from ablations.harness.estimate import estimate
from ablations.harness.outlook import costs, listing
from tests.harness.cells import cell, config, learning_cell


def test_costs_are_summed_up_by_experiment() -> None:
    first = [cell(length=length, experiment="first") for length in (8, 16, 24)]
    other = cell("reformer", length=40, experiment="other")
    found = costs([first[0], other, *first[1:]])
    assert [(one.experiment, one.n_cells) for one in found] == [("first", 3), ("other", 1)]
    assert found[0].minutes == sum(estimate(one).seconds for one in first) / 60
    assert found[0].most_bytes == max(estimate(one).held_bytes for one in first)


def test_what_is_done_is_listed_and_costs_nothing() -> None:
    cells = [cell(length=8, experiment="first"), cell(length=16, experiment="other")]
    *lines, cost = listing(cells, [cells[0].id])
    assert [line.split()[0] for line in lines] == ["done", "to"]
    assert cost.startswith("other")
    assert "1 cells" in cost


def test_a_training_run_holds_parameters_gradients_and_adam_s_state_beside_its_activations() -> None:
    plain = cell(length=24, workload=PeakMemory(mode="forward_backward"), batch=2)
    training = estimate(learning_cell("dense"))
    # Four numbers for each parameter, two of them more than a step that takes gradients alone.
    assert training.held_bytes - training.peak_bytes > 1.9 * (estimate(plain).held_bytes - estimate(plain).peak_bytes)


def test_what_does_not_fit_its_budget_is_expected_to_fail_at_once() -> None:
    large = config("dense", length=2**14)
    roomy, tight = (
        cell(config=large, length=2**14, workload=Capacity(budget_bytes=budget)) for budget in (2**40, 2**20)
    )
    assert estimate(tight).seconds < 1 < estimate(roomy).seconds
