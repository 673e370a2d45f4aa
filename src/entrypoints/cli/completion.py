"""`hexward completion`: commands and options, completed by the shell."""

import click

from entrypoints.cli.frame import PROGRAM, Command

SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    examples=(
        "hexward completion bash > ~/.local/share/bash-completion/completions/hexward",
        "hexward completion zsh > ~/.zfunc/_hexward",
        "hexward completion fish > ~/.config/fish/completions/hexward.fish",
    ),
    acts=False,
    prints=False,
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes hexward's commands and options in your shell."""
    from click.shell_completion import get_completion_class

    from entrypoints.cli.main import root

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(script(root, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
