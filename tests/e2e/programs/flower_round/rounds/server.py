"""What the SuperLink runs: federated averaging over whoever is connected."""

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds and print the weights that come of them."""
    strategy = FedAvg(fraction_evaluate=0, min_train_nodes=1, min_evaluate_nodes=0, min_available_nodes=1)
    start = ArrayRecord([np.zeros(3)])
    result = strategy.start(grid, start, num_rounds=int(context.run_config["rounds"]), timeout=60)
    (weights,) = result.arrays.to_numpy_ndarrays()
    print(f"weights {weights.tolist()}")
