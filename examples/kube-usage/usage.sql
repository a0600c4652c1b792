-- What each pod used, by what its node's agent measured. Each event counts once, also where an agent that came back
-- after more than the fabric's dedupWindow sent some again.
SELECT data->>'namespace' AS namespace,
       data->>'pod' AS pod,
       round(sum((data->>'cpu_core_seconds')::numeric), 2) AS "CPU core-seconds",
       sum((data->>'memory_byte_seconds')::numeric) AS "memory byte-seconds",
       count(*) AS records
FROM (SELECT DISTINCT ON (source, id) data
      FROM meterfabric.records
      WHERE type = 'io.meterfabric.example.pod.usage') AS events
GROUP BY 1, 2
ORDER BY 1, 3 DESC;
