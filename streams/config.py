"""What a worker is told: plain values, built from the settings by the program."""

from dataclasses import dataclass, field

from producers.kafka_access import Kafka


@dataclass(frozen=True, slots=True)
class BrakeLimits:
    """When a dataset fails, and whether a topic may be stopped.

    Attributes:
        share: of refused rows, above which a dataset fails; 1 never does.
        run: refused rows one after the other at which it fails.
        stop_topic: whether the topic stops when most organisations fail together.
    """

    share: float = 0.5
    run: int = 500
    stop_topic: bool = True


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Configuration of one worker process.

    Attributes:
        kafka: bootstrap servers, `host:port[,host:port]`, or those with credentials.
        topic_prefix: put before every topic name.
        group: consumer group.
        name: name of this process in the ledger's ranges.
        clickhouse_url: with user and password, `http://user:password@host:port`.
        database: ClickHouse database.
        pseudonym_secret: master secret of pseudonyms.
        seal_secret: master secret of sealed originals.
        pseudonym_profile: `hmac` or `sha256`.
        session_timeout_s: after this long without a heartbeat the group gives the partitions away.
        heartbeat_s: seconds between heartbeats.
        rebalance_timeout_s: longest time a worker may take to hand its partitions over.
        insert_limit_s: longest time an insert may run on the server.
        commit_interval_s: seconds between commits of offsets.
        fetch_rows: most records of one fetch.
        max_rows_in_hand: rows at which agents of one topic are held back.
        stall_limit_s: the process ends when a batch makes no progress for so long though the store answers.
        brake: when a dataset counts as failing, and whether a topic may be stopped.
        topic_check_s: seconds between two looks at the topics' ids.
    """

    kafka: Kafka
    topic_prefix: str
    group: str
    name: str
    clickhouse_url: str = field(repr=False)
    database: str
    pseudonym_secret: bytes = field(repr=False)
    seal_secret: bytes = field(repr=False)
    pseudonym_profile: str = "hmac"
    session_timeout_s: float = 20.0
    heartbeat_s: float = 3.0
    rebalance_timeout_s: float = 60.0
    insert_limit_s: int = 30
    commit_interval_s: float = 1.0
    fetch_rows: int = 20_000
    max_rows_in_hand: int = 120_000
    stall_limit_s: float = 300.0
    brake: BrakeLimits = BrakeLimits()
    topic_check_s: float = 5.0
