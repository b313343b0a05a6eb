"""LitServe with its batching: one worker process per core, requests in base64 as its guide shows."""

import base64

import litserve as ls
import numpy as np
from common import BATCH_WAIT_S, CORES, MAX_BATCH, PORT, Model


class Classify(ls.LitAPI):
    """The model behind LitServe's hooks."""

    def setup(self, device):
        """Load the model in each worker."""
        self.model = Model(threads=1)

    def decode_request(self, request):
        """Turn a request into pixels."""
        return self.model.decode(base64.b64decode(request["image"]))

    def batch(self, inputs):
        """Stack the pixels of several requests."""
        return np.stack(inputs)

    def predict(self, x):
        """Classify a batch."""
        return self.model.classify(x)

    def unbatch(self, output):
        """Deal out the answers."""
        return list(output)

    def encode_response(self, output):
        """Turn one answer into JSON."""
        return {"probabilities": output}


if __name__ == "__main__":
    api = Classify(max_batch_size=MAX_BATCH, batch_timeout=BATCH_WAIT_S)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=CORES)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="error")
