"""A plain FastAPI endpoint: each request on a thread of its own, one session on all cores, no batching."""

import uvicorn
from common import CORES, PORT, Model
from fastapi import FastAPI, UploadFile

app = FastAPI()
model = Model(threads=CORES)


@app.post("/predict")
def predict(image: UploadFile) -> dict[str, list[float]]:
    """Answer with the probabilities of one image."""
    return {"probabilities": model.classify(model.decode(image.file.read())[None])[0]}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="error")
