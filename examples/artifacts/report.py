"""A training run that shows what it is doing and what came of it: a live bar, a table, a picture, a report, and a variable that steers it."""

from legato import Variable, create_image_artifact, create_markdown_artifact, create_table_artifact, flow, task, track


@task
def train(rate: float, epochs: int) -> list[float]:
    """The loss after each epoch, of a model that learns as fast as it is told."""
    losses = [1.0]
    for _ in track(range(epochs), f"training at rate {rate}"):
        losses.append(losses[-1] * (1 - rate))
    return losses


def curve(losses: list[float]) -> bytes:
    """The losses as a picture."""
    points = " ".join(f"{10 + 180 * i / (len(losses) - 1):.0f},{90 - 80 * loss:.0f}" for i, loss in enumerate(losses))
    line = f'<polyline points="{points}" fill="none" stroke="#5b34d6" stroke-width="2"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100" width="400" height="200">{line}</svg>'.encode()


@flow
def compare(rates: list[float]) -> float:
    """Train at several rates; returns the best one."""
    epochs = Variable.get("epochs", default=20)
    results = {rate: train(rate, epochs) for rate in rates}
    best = min(results, key=lambda rate: results[rate][-1])
    table = [{"rate": rate, "epochs": epochs, "loss": round(losses[-1], 4)} for rate, losses in results.items()]
    create_table_artifact(table, key="rates", title="Loss by rate")
    create_image_artifact(curve(results[best]), key="loss-curve", title=f"Loss at rate {best}")
    create_markdown_artifact(
        f"# Rates compared\n\nThe best of {len(rates)} rates is **{best}**: loss `{results[best][-1]:.4f}` after {epochs} epochs.\n\n"
        "- the table has them all\n- the curve is the best one's",
        key="comparison",
    )
    return best


if __name__ == "__main__":
    print(compare([0.05, 0.1, 0.2]))
