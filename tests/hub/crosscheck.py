"""Compares with Python's huggingface_hub and timm, against the Hub in memory of crates/hub/tests.

    cargo build -p adautomix --example exchange && cargo build -p adautomix && cargo build -p adautomix-hub --example serve
    python tests/hub/crosscheck.py [ARCHITECTURE]...

It needs torch, torchvision, timm, safetensors and huggingface_hub, and no network. It prints a line a check and ends with
an error at the first that fails. --target names the folder of the programs, if it isn't target/debug.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARCHITECTURES = {
    "resnet18": 64,
    "resnet34": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "convnext_tiny": 64,
    "swin_tiny_patch4_window7_224": 224,
    "vit_small_patch16_224": 224,
    "deit_small_patch16_224": 224,
}
TORCHVISION = {"swin_tiny_patch4_window7_224": "swin_t", "convnext_tiny": "convnext_tiny", "resnet18": "resnet18"}
CLASSES = 7
LOGITS, NORMS = 1e-4, 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--target", type=pathlib.Path, default=ROOT / "target/debug")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [options.target / "examples/serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            endpoint, token = server.stdout.readline().split()
            # Both read these when they begin.
            os.environ.update(
                HF_ENDPOINT=endpoint, HF_TOKEN=token, HF_HOME=f"{folder}/home", HF_HUB_DISABLE_XET="1",
                HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1",
            )
            for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"):
                os.environ.pop(name, None)
            check(options, pathlib.Path(folder))
        finally:
            server.stdin.close()
            server.wait()


def check(options, folder):
    for name in options.architectures:
        networks(options.target, folder / name, name)
    pushed(options.target, folder)
    pulled(options.target, folder)


def say(words):
    print(words, flush=True)


def close(found, expected, tolerance):
    """The largest difference, as a share of the largest value; it must be small."""
    error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    assert error <= tolerance, f"differs by {error:.2e}, expected at most {tolerance:.0e}"
    return error


def scattered(model, seed):
    """Gives every tensor values without a pattern: as they are drawn, half of a network says nothing."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(1 + 0.3 * noise.abs())
            elif name.endswith(("gamma", "layer_scale")):
                tensor.copy_(0.3 * noise)
            elif tensor.ndim == 1:
                tensor.add_(0.1 * noise)
            else:
                tensor.add_(noise * 0.3 * max(float(tensor.std()), 0.02))
    return model.eval()


def networks(target, folder, name):
    """timm's state dict loads here with the same logits and norms of gradients, and ours in timm; also torchvision's."""
    import timm
    import torch
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(1)
    side = ARCHITECTURES[name]
    inputs = {
        "images": torch.randn(2, 3, side, side, generator=generator),
        "probe": torch.randn(2, CLASSES, generator=generator),
    }
    models = [("timm", scattered(timm.create_model(name, num_classes=CLASSES), 2))]
    if name in TORCHVISION:
        import torchvision

        other = getattr(torchvision.models, TORCHVISION[name])(num_classes=CLASSES)
        models.append(("torchvision", scattered(other, 3)))
    for source, model in models:
        out = folder / source
        out.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, out / "theirs.safetensors")
        save_file(inputs, out / "inputs.safetensors")
        run(target / "examples/exchange", name, CLASSES, out / "theirs.safetensors", out / "inputs.safetensors", out)
        results = load_file(out / "results.safetensors")
        logits = model(inputs["images"])
        (logits * inputs["probe"]).sum().backward()
        error = close(results["logits"], logits.detach(), LOGITS)
        norms = sorted(float(parameter.grad.norm()) for parameter in model.parameters())
        ours = sorted(float(value) for key, value in results.items() if key.startswith("gradient."))
        worst = close(torch.tensor(ours), torch.tensor(norms), NORMS)
        if source == "timm":
            for key, parameter in model.named_parameters():
                norm = parameter.grad.norm()
                assert abs(results[f"gradient.{key}"] - norm) <= NORMS * max(norm, 1e-3 * norms[-1]), key
        back = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
        with torch.no_grad():
            returned = close(back(inputs["images"]), results["logits"], LOGITS)
        say(f"{name} of {source}: logits {error:.1e}, gradients {worst:.1e}, back in timm {returned:.1e}")


def pushed(target, folder):
    """What is pushed, timm builds by its name on the Hub, and huggingface_hub reads the card."""
    import timm
    import torch
    from huggingface_hub import HfApi, ModelCard
    from safetensors.torch import load_file, save_file

    train = ["data.train_pictures=20", "data.test_pictures=20", "training.batch_size=10", "training.epochs=1"]
    run_folder = folder / "run"
    settings = [f"--set={setting}" for setting in [*train, "network.name=resnet18"]]
    run(target / "adautomix", "train", "quick/mixup", f"--out={run_folder}", *settings)
    run(target / "adautomix", "hub", "push", run_folder, "tester/mixed", "--private")
    model = timm.create_model("hf-hub:tester/mixed", pretrained=True).eval()
    out = folder / "pushed"
    out.mkdir()
    images = torch.randn(2, 3, 32, 32)
    save_file({"images": images, "probe": torch.ones(2, 10)}, out / "inputs.safetensors")
    lines = run(target / "adautomix", "hub", "pull", "tester/mixed").splitlines()
    weights = next(line.strip() for line in lines if line.endswith("model.safetensors"))
    run(target / "examples/exchange", "resnet18", 10, weights, out / "inputs.safetensors", out)
    with torch.no_grad():
        error = close(model(images), load_file(out / "results.safetensors")["logits"], LOGITS)
    assert lines[-1].endswith("tensors fit"), lines
    config = timm.data.resolve_model_data_config(model)
    assert tuple(config["input_size"]) == (3, 32, 32), config
    say(f"timm.create_model('hf-hub:…') of a pushed run: logits {error:.1e}")

    card = ModelCard.load("tester/mixed")
    results = card.data.eval_results
    assert card.data.license == "mit" and card.data.library_name == "timm", card.data
    assert [result.metric_type for result in results] == ["accuracy"] * 2, results
    assert HfApi().model_info("tester/mixed").private
    say(f"the card: {results[0].metric_name} {results[0].metric_value} on {results[0].dataset_name}")


def pulled(target, folder):
    """What huggingface_hub uploads, we pull; what one has in the cache, the other finds there."""
    from huggingface_hub import HfApi, hf_hub_download, scan_cache_dir

    api = HfApi()
    source = folder / "source"
    source.mkdir()
    (source / "model.safetensors").write_bytes(os.urandom(200_000))
    (source / "config.json").write_text('{"architecture": "none"}')
    api.create_repo("tester/theirs")
    api.upload_folder(repo_id="tester/theirs", folder_path=source)
    lines = run(target / "adautomix", "hub", "pull", "tester/theirs").splitlines()
    paths = [line.strip() for line in lines if line.startswith("  ")]
    for path, name in zip(paths, ["model.safetensors", "config.json"]):
        assert pathlib.Path(path).read_bytes() == (source / name).read_bytes(), name
        assert hf_hub_download("tester/theirs", name, local_files_only=True) == path, name
    assert "tester/theirs" in {repo.repo_id for repo in scan_cache_dir().repos}
    say("what huggingface_hub uploads, we pull, and it finds it in the cache")

    other = folder / "other"
    for name in ["model.safetensors", "config.json"]:
        hf_hub_download("tester/theirs", name, cache_dir=other / "hub")
    offline = run(target / "adautomix", "hub", "pull", "tester/theirs", "--offline", HF_HOME=str(other))
    assert str(other) in offline
    say("what huggingface_hub fetches, we find in the cache")


def run(*command, **environment):
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
