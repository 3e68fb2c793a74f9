"""What a SuperNode runs: it adds one to every weight."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer with the weights of one example."""
    del context
    weights = message.content["arrays"].to_numpy_ndarrays()
    trained = ArrayRecord([one + 1 for one in weights])
    content = RecordDict({"arrays": trained, "metrics": MetricRecord({"num-examples": 1})})
    return Message(content=content, reply_to=message)
