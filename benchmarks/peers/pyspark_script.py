"""The click features, written carefully by hand in PySpark: `python pyspark_script.py LOG.tsv FOLDER`."""

import sys

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

log_file, output = sys.argv[1], sys.argv[2]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.memory", "8g")
    .config("spark.sql.shuffle.partitions", 16)
    .config("spark.sql.parquet.compression.codec", "zstd")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", False)
    .config("spark.log.level", "ERROR")
    .getOrCreate()
)
log = (
    spark.read.csv(log_file, sep="\t", quote="", escape="", schema="image string, query string, clicks bigint")
    .groupBy("image", "query")
    .agg(F.sum("clicks").alias("clicks"))
    .cache()
)
words = (
    log.groupBy("query")
    .agg(F.sum("clicks").alias("total"))
    .withColumn("word", F.explode(F.expr(r"array_distinct(regexp_extract_all(lower(query), r'[\p{L}\p{N}]+', 0))")))
    .cache()
)
ranked = (
    words.groupBy("word").agg(F.sum("total").alias("clicks")).orderBy(F.desc("clicks"), "word").limit(1000)
).withColumn("word_id", F.row_number().over(Window.orderBy(F.desc("clicks"), "word")) - 1)
ranked = F.broadcast(ranked.cache())
matrix = (
    log.join(words.join(ranked.select("word", "word_id"), "word").select("query", "word_id"), "query")
    .groupBy("image", "word_id")
    .agg(F.sum("clicks").alias("clicks"))
    .cache()
)
images = log.select("image").distinct()
num_images = images.count()
vocabulary = (
    ranked.join(matrix.groupBy("word_id").agg(F.count("*").alias("document_frequency")), "word_id")
    .withColumn("idf", F.log(F.lit(float(num_images)) / F.col("document_frequency")))
    .select("word_id", "word", "clicks", "document_frequency", "idf")
    .cache()
)
vocabulary.coalesce(1).sortWithinPartitions("word_id").write.mode("overwrite").parquet(f"{output}/vocabulary.parquet")
features = (
    matrix.join(F.broadcast(vocabulary.select("word_id", "idf")), "word_id")
    .withColumn("total", F.sum("clicks").over(Window.partitionBy("image")))
    .withColumn("tfidf", (F.col("clicks") / F.col("total") * F.col("idf")).cast("float"))
    .groupBy("image")
    .agg(F.sort_array(F.collect_list(F.struct("word_id", "clicks", "tfidf"))).alias("entries"))
)
images.join(features, "image", "left").select(
    F.col("image").alias("image_id"),
    *(
        F.coalesce(F.col(f"entries.{entry}"), F.array().cast(f"array<{kind}>")).alias(column)
        for entry, column, kind in (
            ("word_id", "word_ids", "int"),
            ("clicks", "clicks", "bigint"),
            ("tfidf", "tfidf", "float"),
        )
    ),
).write.mode("overwrite").parquet(f"{output}/click_features")
spark.stop()
