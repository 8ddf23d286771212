"""Network architectures. Each is a trunk (``features``) and a ``head`` that returns logits."""
