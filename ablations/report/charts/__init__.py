"""Charts that react, from the same results as the figures. They are data: a script in the page draws them."""

from ablations.report.charts.capacity import capacity_chart
from ablations.report.charts.chart import Chart
from ablations.report.charts.learning import learning_chart
from ablations.report.charts.scaling import scaling_chart

__all__ = ["Chart", "capacity_chart", "learning_chart", "scaling_chart"]
