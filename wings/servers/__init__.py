"""The servers of this node: who they are and where their files lie.

In local mode the operator registers directories (``directory.py``). Nothing here touches their files.
"""
