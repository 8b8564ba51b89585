"""A Spark Connect server of this machine, until its input ends: `python connect_server.py PORT`."""

from __future__ import annotations

import sys

from pyspark import SparkConf, SparkContext


def main() -> None:
    settings = {
        "spark.ui.enabled": "false",
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": sys.argv[1],
    }
    context = SparkContext(conf=SparkConf().setMaster("local[2,8]").setAll(list(settings.items())))
    print("ready", flush=True)
    sys.stdin.read()
    context.stop()


if __name__ == "__main__":
    main()
