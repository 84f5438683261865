"""Labels from clicks, written carefully by hand in DuckDB: `python duckdb_labels.py LOG.tsv NAMES.txt FOLDER`.

The same naming as pipelines/words/naming.py, as relations. The command cuts words at anything but letters and digits,
and takes a word with or without a plural ending for one of a name. Tests call :func:`label` on words from elsewhere.
"""

import sys
from pathlib import Path

import duckdb

# Reads log(image, query, clicks), query_words(query, word), name_words(name, category, word); a word of a query is
# a word of some name. Makes labels and reliabilities.
NAMING = """
    CREATE TABLE clicked AS SELECT query, sum(clicks)::BIGINT AS clicks FROM log GROUP BY query;
    CREATE TABLE query_patterns AS
        SELECT query, list_sort(list(DISTINCT word)) AS pattern FROM query_words GROUP BY query;
    CREATE TABLE patterns AS
        SELECT row_number() OVER () AS id, pattern, sum(clicks)::HUGEINT AS clicks
        FROM query_patterns JOIN clicked USING (query) GROUP BY pattern;
    CREATE TABLE pattern_words AS SELECT id, clicks, unnest(pattern) AS word FROM patterns;

    CREATE TABLE weights AS
        SELECT word, ln(1 + (SELECT count(DISTINCT category) FROM name_words) / count(DISTINCT category)) AS weight
        FROM name_words GROUP BY word;
    CREATE TABLE sizes AS
        SELECT name, any_value(category) AS category, count(*) AS size, sum(weight) AS total
        FROM name_words JOIN weights USING (word) GROUP BY name;
    CREATE TABLE inside AS
        SELECT short.name AS short, long.name AS long
        FROM name_words AS short JOIN name_words AS long USING (word)
        JOIN sizes AS small ON small.name = short.name JOIN sizes AS large ON large.name = long.name
        WHERE small.size < large.size
        GROUP BY short.name, long.name, small.size HAVING count(*) = small.size;

    CREATE TABLE matched AS
        SELECT id, name, any_value(category) AS category, any_value(total) AS total, sum(weight) AS weight,
               count(*) = any_value(size) AS whole
        FROM pattern_words JOIN name_words USING (word) JOIN weights USING (word) JOIN sizes USING (name, category)
        GROUP BY id, name;
    CREATE TABLE whole AS
        SELECT id, name, category FROM matched WHERE whole AND NOT EXISTS (
            SELECT 1 FROM inside JOIN matched AS longer ON longer.name = inside.long
            WHERE inside.short = matched.name AND longer.id = matched.id AND longer.whole);

    CREATE TABLE reliabilities AS
        SELECT word, sum(clicks * units)::DOUBLE / (sum(clicks)::DOUBLE * 65536) AS reliability
        FROM (SELECT id, word, any_value(clicks) AS clicks,
                     round(round(max(CASE WHEN whole THEN 1 ELSE (matched.weight - weights.weight)
                                                                 / (total - weights.weight) END), 9) * 65536)::BIGINT
                     AS units
              FROM pattern_words JOIN weights USING (word) JOIN name_words USING (word) JOIN matched USING (id, name)
              GROUP BY id, word)
        GROUP BY word;

    CREATE TABLE scores AS
        SELECT id, name, any_value(matched.category) AS category, round(sum(weights.weight * reliability), 9) AS score,
               max(reliability) AS strongest
        FROM pattern_words JOIN weights USING (word) JOIN reliabilities USING (word) JOIN name_words USING (word)
        JOIN matched USING (id, name)
        WHERE id NOT IN (SELECT id FROM whole)
        GROUP BY id, name;
    CREATE TABLE best AS
        SELECT id, category, max(strongest) OVER (PARTITION BY id) AS strength
        FROM (SELECT *, max(score) OVER (PARTITION BY id) AS highest FROM scores)
        WHERE score = highest AND score > 0;
    CREATE TABLE votes AS
        SELECT id, category, round(65536 * strength / count(*) OVER (PARTITION BY id))::BIGINT AS units
        FROM (SELECT DISTINCT id, category, 1.0 AS strength FROM whole
              UNION ALL SELECT DISTINCT id, category, strength FROM best WHERE strength >= $least_reliability);

    CREATE TABLE named AS
        SELECT image, log.clicks AS clicks, id FROM log JOIN query_patterns USING (query) JOIN patterns USING (pattern)
        WHERE id IN (SELECT id FROM votes);
    CREATE TABLE evidence AS
        SELECT image, sum(clicks)::BIGINT AS clicks, count(*) AS queries FROM named GROUP BY image;
    CREATE TABLE totals AS
        SELECT image, category, sum(clicks * units)::HUGEINT AS units FROM named JOIN votes USING (id)
        GROUP BY image, category;
    CREATE TABLE shares AS
        SELECT image, category, units / sum(units) OVER (PARTITION BY image) AS share,
               row_number() OVER (PARTITION BY image ORDER BY units DESC, category) AS rank
        FROM totals;
    CREATE TABLE labels AS
        SELECT image AS image_id, category, coalesce(share, 0) AS share, coalesce(margin, 0) AS margin,
               coalesce(clicks, 0) AS clicks, coalesce(queries, 0) AS queries, categories, shares
        FROM (SELECT DISTINCT image FROM log)
        LEFT JOIN (SELECT image, first(category ORDER BY rank) AS category, max(share) AS share,
                          max(share) - coalesce(max(share) FILTER (rank = 2), 0) AS margin,
                          list(category ORDER BY rank) AS categories, list(share ORDER BY rank)::FLOAT[] AS shares
                   FROM shares GROUP BY image) USING (image)
        LEFT JOIN evidence USING (image);
"""

READING = r"""
    CREATE TABLE log AS
        SELECT image, query, sum(clicks)::BIGINT AS clicks
        FROM read_csv($log, delim = '\t', header = false, quote = '', escape = '',
                      columns = {'image': 'VARCHAR', 'query': 'VARCHAR', 'clicks': 'BIGINT'})
        GROUP BY ALL;
    CREATE TABLE name_words AS
        SELECT DISTINCT category AS name, category, unnest(regexp_extract_all(lower(category), '[\p{L}\p{N}]+')) AS word
        FROM read_csv($names, delim = '\t', header = false, quote = '', escape = '', columns = {'category': 'VARCHAR'});
    CREATE TABLE forms AS
        SELECT word AS form, word FROM name_words
        UNION SELECT word || 's', word FROM name_words WHERE NOT suffix(word, 's')
        UNION SELECT word || 'es', word FROM name_words WHERE regexp_matches(word, '(s|x|z|ch|sh|o)$')
        UNION SELECT word[:-2], word FROM name_words WHERE regexp_matches(word, '[^sui]s$');
    CREATE TABLE query_words AS
        SELECT DISTINCT query, word
        FROM (SELECT query, unnest(list_distinct(regexp_extract_all(lower(query), '[\p{L}\p{N}]+'))) AS form
              FROM (SELECT DISTINCT query FROM log)) JOIN forms USING (form);
"""


def label(database: duckdb.DuckDBPyConnection, least_reliability: float) -> None:
    """Make the table `labels` from the tables that NAMING reads."""
    database.execute(NAMING.replace("$least_reliability", repr(float(least_reliability))))


def main() -> None:
    log, names, output = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    output.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        database.execute("SET preserve_insertion_order = false")
        database.execute(READING.replace("$log", f"'{log}'").replace("$names", f"'{names}'"))
        label(database, 0.3)
        database.execute(f"COPY labels TO '{output}/labels.parquet' (CODEC 'zstd')")


if __name__ == "__main__":
    main()
