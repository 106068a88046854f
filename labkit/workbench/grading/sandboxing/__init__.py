"""The sandbox: answers run without network, files and secrets, and only plain values come out."""
