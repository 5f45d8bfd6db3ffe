{{/* How the learner's processes are started: by itself, or by torchrun with one process per GPU on every node. The first pod of the
     StatefulSet is the first node. Takes [root, values]; gives {command, args, env}. */}}
{{- define "hiper.learnerLaunch" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- if and (le ($values.gpu.count | int) 1) (eq ($values.nodes | int) 1) -}}
{{- dict "command" $values.command "args" list "env" list | toYaml -}}
{{- else -}}
command: [torchrun]
args:
  - --nnodes={{ $values.nodes }}
  - --nproc-per-node={{ max 1 ($values.gpu.count | int) }}
  - --node-rank=$(NODE_RANK)
  - --master-addr={{ include "hiper.host" (list $root "learner") }}
  - --master-port=29500
  - --module
  - hiper
env:
  # Else torchrun kills the ranks after 30 s.
  - {name: TORCH_ELASTIC_SHUTDOWN_TIMEOUT, value: {{ $values.terminationGracePeriodSeconds | quote }}}
  - name: NODE_RANK
    {{- if eq ($values.nodes | int) 1 }}
    value: "0"
    {{- else }}
    valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}
    {{- end }}
{{- end -}}
{{- end -}}
