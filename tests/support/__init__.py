"""What the tests share. Nothing here imports mydocker except where a function says so."""
