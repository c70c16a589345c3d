"""Stages: what users put into `stages=[...]`, one file each; a stage knows no other."""
