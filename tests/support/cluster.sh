#!/usr/bin/env bash
# A throw-away SLURM of one node on loopback, with made-up GPUs, for testing profiles/slurm on the real thing.
#
#   cluster.sh start FOLDER    start it; its files go to FOLDER (an absolute path). Needs root, slurm-wlm and munge
#   cluster.sh stop FOLDER     cancel its jobs and stop its daemons
#
# SLURM has no accounting here (no sacct), as on the smallest clusters.
set -euo pipefail

[ $# = 2 ] || { sed -n '2,8p' "$0"; exit 2; }
BED=$2
CPUS=4 GPUS=2 MEMORY_MB=16000   # declared to SLURM, whatever the machine has
NODE=testnode                   # SLURM's name for it, whatever the host is called
HOST=$(uname -n); HOST=${HOST%%.*}
export SLURM_CONF=$BED/etc/slurm.conf PATH=$PATH:/usr/sbin:/sbin

fail() {
  echo "cluster.sh: $*" >&2
  tail -n 15 "$BED"/log/*.log >&2 2>/dev/null || true
  stop
  exit 1
}

wait_for() { # SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt "$end" ] || fail "$what did not come up"
    sleep 0.1
  done
}

alive() { # NAME: its pid file names a live process of that name (an empty cmdline is a zombie's)
  local pid; pid=$(cat "$BED/run/$1.pid" 2>/dev/null) && [ -n "$pid" ] &&
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] &&
    [ -n "$(tr -d '\0' 2>/dev/null <"/proc/$pid/cmdline")" ]
}

end() { # NAME: stop the daemon that this script started
  alive "$1" || return 0
  local pid; pid=$(cat "$BED/run/$1.pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 100); do alive "$1" || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

ready() { timeout 5 sinfo -h -n $NODE -o %T 2>/dev/null | grep -qE '^(idle|mixed|allocated)$'; }

configure() {
  mkdir -p "$BED"/{etc,run,log,state,spool,munge,dev} /etc/slurm
  chmod 755 "$BED" "$BED"/{etc,run,log,munge}
  (umask 077; head -c 1024 /dev/urandom >"$BED/munge/key")
  # Both of the host's names must resolve, and to 127.0.0.1 for the daemons to listen there only.
  local name listen=""
  for name in "$(uname -n)" "$HOST"; do
    getent ahostsv4 "$name" >/dev/null || echo "127.0.0.1 $name" >>/etc/hosts
  done
  if getent ahostsv4 "$(uname -n)" | head -n 1 | grep -q '^127\.0\.0\.1 '; then
    listen="CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
  fi
  # A GPU is a character device whose name ends in its number; a link to one is enough.
  : >"$BED/etc/gres.conf"
  for i in $(seq 0 $((GPUS - 1))); do
    ln -sfn /dev/null "$BED/dev/gpu$i"
    echo "NodeName=$NODE Name=gpu Type=madeup File=$BED/dev/gpu$i Flags=nvidia_gpu_env" >>"$BED/etc/gres.conf"
  done
  cat >"$BED/etc/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
$listen
AuthType=auth/munge
AuthInfo=socket=$BED/munge/socket
StateSaveLocation=$BED/state
SlurmdSpoolDir=$BED/spool
SlurmctldPidFile=$BED/run/slurmctld.pid
SlurmdPidFile=$BED/run/slurmd.pid
SlurmctldLogFile=$BED/log/slurmctld.log
SlurmdLogFile=$BED/log/slurmd.log
AccountingStorageType=accounting_storage/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PriorityType=priority/basic
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=3
CompleteWait=0
PropagateResourceLimits=NONE
GresTypes=gpu
NodeName=$NODE NodeHostname=$HOST NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$MEMORY_MB Gres=gpu:madeup:$GPUS State=UNKNOWN
PartitionName=main Nodes=$NODE Default=YES MaxTime=1-0 State=UP
CONF
  # At the system's path too: the SLURM plugin's inner srun drops SLURM_CONF.
  local file
  for file in slurm.conf gres.conf; do
    if [ -e /etc/slurm/$file ] && [ ! -L /etc/slurm/$file ]; then
      fail "/etc/slurm/$file is a real file: this host has its own SLURM"
    fi
    ln -sfn "$BED/etc/$file" /etc/slurm/$file
  done
}

start() {
  [ "$(id -u)" = 0 ] || fail "root is needed: slurmd runs jobs as their users"
  configure
  munged --key-file="$BED/munge/key" --socket="$BED/munge/socket" --pid-file="$BED/run/munged.pid" \
    --log-file="$BED/log/munged.log" --seed-file="$BED/munge/seed" --num-threads=2 --force 2>/dev/null
  wait_for 10 munged bash -c "munge -S '$BED/munge/socket' -n | unmunge -S '$BED/munge/socket'"
  slurmctld -c
  wait_for 20 slurmctld bash -c 'scontrol ping | grep -q "is UP"'
  slurmd -N $NODE
  wait_for 30 "the node" ready
}

stop() {
  if ready; then
    scancel --quiet --partition=main >/dev/null 2>&1 || true
    for _ in $(seq 80); do [ -n "$(timeout 5 squeue -h -t running,completing 2>/dev/null)" ] || break; sleep 0.1; done
  fi
  end slurmd; end slurmctld; end munged
  local file
  for file in slurm.conf gres.conf; do
    if [ "$(readlink /etc/slurm/$file)" = "$BED/etc/$file" ]; then rm -f /etc/slurm/$file; fi
  done
}

case $1 in
  start) start ;;
  stop) stop ;;
  *) sed -n '2,8p' "$0"; exit 2 ;;
esac
