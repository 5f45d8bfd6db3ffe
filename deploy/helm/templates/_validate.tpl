{{/* What a schema cannot say: every rule is one sentence, with what to do. */}}

{{- define "hiper.validate" -}}
{{- $given := include "hiper.givenConfig" . | fromYaml -}}
{{- include "hiper.validate.config" (list . $given) -}}
{{- include "hiper.validate.broker" . -}}
{{- include "hiper.validate.tls" . -}}
{{- include "hiper.validate.tracing" . -}}
{{- include "hiper.validate.storage" . -}}
{{- include "hiper.validate.scaling" . -}}
{{- include "hiper.validate.gpus" (list . $given) -}}
{{- end -}}

{{- define "hiper.validate.config" -}}
{{- $root := index . 0 -}}
{{- $given := index . 1 -}}
{{- if and $root.Values.recipe (not ($root.Files.Get (printf "recipes/%s.yaml" $root.Values.recipe))) -}}
{{- fail (printf "hiper: there is no recipe `%s`; leave `recipe` empty and say everything in `config`" $root.Values.recipe) -}}
{{- end -}}
{{- range $path, $instead := dict
      "broker.url" "a password belongs into a Secret: use externalBroker"
      "broker.password_file" "use broker.existingSecret or externalBroker.existingSecret"
      "broker.appendfsync" "set broker.appendfsync"
      "broker.maxmemory_mb" "set broker.maxmemory"
      "broker.allow_data_loss" "set broker.allowDataLoss"
      "env.addresses" "the chart knows its env servers"
      "hae.critic_address" "the chart knows its learner"
      "learner.critic_port" "the chart knows its learner"
      "weights.address" "the chart knows its pods"
      "weights.advertise" "the chart knows its pods"
      "supervisor.scale" "set the component's replicaCount"
      "tracing.endpoint" "set tracing.endpoint"
      "tracing.protocol" "set tracing.protocol" -}}
{{- $keys := splitList "." $path -}}
{{- if dig (first $keys) (last $keys) "" $root.Values.config -}}
{{- fail (printf "hiper: config.%s is not set there; %s" $path $instead) -}}
{{- end -}}
{{- end -}}
{{- $_ := include "hiper.playedFamily" $root -}}
{{- $drain := dig "rollout" "drain_timeout_s" 30 $given | float64 -}}
{{- $grace := (include "hiper.component" (list $root "rollout") | fromYaml).terminationGracePeriodSeconds | float64 -}}
{{- if lt $grace (addf $drain 20) -}}
{{- fail (printf "hiper: rollout.terminationGracePeriodSeconds is %v, but episodes may go on for %v s (config.rollout.drain_timeout_s): give at least 20 s more, or pods are killed while they drain" $grace $drain) -}}
{{- end -}}
{{- end -}}

{{- define "hiper.validate.broker" -}}
{{- $own := .Values.broker -}}
{{- $external := .Values.externalBroker -}}
{{- if and $own.enabled $external.host -}}
{{- fail "hiper: broker.enabled and externalBroker.host are both set: a run has one broker, so set broker.enabled=false or clear the host" -}}
{{- end -}}
{{- if not (or $own.enabled $external.host) -}}
{{- fail "hiper: there is no broker: set broker.enabled=true, or externalBroker.host" -}}
{{- end -}}
{{- if and $external.host (not $external.existingSecret) -}}
{{- fail "hiper: externalBroker.host needs externalBroker.existingSecret: the Secret with the passwords, one key per service's user, or `passwordKey` with `username`" -}}
{{- end -}}
{{- if and $external.tls.caSecret (not $external.tls.enabled) -}}
{{- fail "hiper: externalBroker.tls.caSecret is set, but TLS is off: set externalBroker.tls.enabled=true" -}}
{{- end -}}
{{- if and $own.enabled (not $own.persistence.enabled) (not $own.allowDataLoss) -}}
{{- fail "hiper: broker.persistence.enabled=false loses the run with the broker's pod: say broker.allowDataLoss=true if that is meant" -}}
{{- end -}}
{{- end -}}

{{- define "hiper.validate.tls" -}}
{{- with .Values.tls -}}
{{- if and .enabled (not .existingSecret) (not .certManager.enabled) -}}
{{- fail "hiper: tls.enabled needs certificates: set tls.existingSecret to a Secret with tls.crt, tls.key and ca.crt, or tls.certManager.enabled=true" -}}
{{- end -}}
{{- if and .enabled .certManager.enabled (not .certManager.issuerRef) -}}
{{- fail "hiper: tls.certManager.enabled needs tls.certManager.issuerRef, e.g. {name: internal-ca, kind: ClusterIssuer}" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hiper.validate.tracing" -}}
{{- with .Values.tracing -}}
{{- if and (not .endpoint) (or .headers.existingSecret .caSecret .resourceAttributes) -}}
{{- fail "hiper: tracing has headers, an authority or attributes, but no collector: set tracing.endpoint, e.g. http://collector.tracing:4317" -}}
{{- end -}}
{{- if and .caSecret (hasPrefix "http://" .endpoint) -}}
{{- fail "hiper: tracing.caSecret is set, but tracing.endpoint is not https: write https://, or take the Secret away" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hiper.validate.storage" -}}
{{- if and (include "hiper.rolloutRun" .) (not (include "hiper.sharedRun" .)) -}}
{{- fail "hiper: storage.run.accessModes lacks ReadWriteMany, but the learner writes what rollouts read: use a class that can, set config.weights.transport=http (and no warm start), or say storage.run.singleNode=true if all of them run on one node" -}}
{{- end -}}
{{- end -}}

{{- define "hiper.validate.scaling" -}}
{{- $explicit := dict "rollout" .Values.rollout "reward" .Values.reward "hae" .Values.hae -}}
{{- range $family, $own := .Values.env -}}
{{- $_ := set $explicit (printf "env-%s" $family) (default dict $own) -}}
{{- end -}}
{{- range $name, $values := include "hiper.scalable" . | fromYaml -}}
{{- $scaling := $values.autoscaling -}}
{{- if $scaling.enabled -}}
{{- if hasKey (index $explicit $name) "replicaCount" -}}
{{- fail (printf "hiper: %s has a replicaCount and autoscaling: two would set its pods, so take one away" $name) -}}
{{- end -}}
{{- if gt ($scaling.minReplicas | int) ($scaling.maxReplicas | int) -}}
{{- fail (printf "hiper: %s.autoscaling.minReplicas is above maxReplicas" $name) -}}
{{- end -}}
{{- if and (eq $scaling.type "keda") (not $.Values.keda.prometheusAddress) -}}
{{- fail (printf "hiper: %s is scaled by KEDA, which needs keda.prometheusAddress, e.g. http://prometheus-operated.monitoring:9090" $name) -}}
{{- end -}}
{{- if eq ($scaling.minReplicas | int) 0 -}}
{{- if ne $scaling.type "keda" -}}
{{- fail (printf "hiper: %s.autoscaling.minReplicas is 0, which only KEDA reaches: set autoscaling.type=keda, or at least 1" $name) -}}
{{- else if not (has $name (list "rollout" "reward")) -}}
{{- fail (printf "hiper: %s.autoscaling.minReplicas must be at least 1: nothing works while it is away" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name := list "learner" "broker" -}}
{{- if (index $.Values $name).autoscaling -}}
{{- fail (printf "hiper: a run has one %s: %s.autoscaling cannot be set" $name $name) -}}
{{- end -}}
{{- if (index $.Values $name).replicaCount -}}
{{- fail (printf "hiper: a run has one %s: %s.replicaCount cannot be set" $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hiper.validate.gpus" -}}
{{- $root := index . 0 -}}
{{- $given := index . 1 -}}
{{- $rollout := include "hiper.component" (list $root "rollout") | fromYaml -}}
{{- $span := dig "rollout" "tensor_parallel" 1 $given | int -}}
{{- if and $rollout.gpu.count (ne ($rollout.gpu.count | int) $span) -}}
{{- fail (printf "hiper: rollout.gpu.count is %v, but its engine spans %d (config.rollout.tensor_parallel): make them equal, and run more pods for more engines" $rollout.gpu.count $span) -}}
{{- end -}}
{{- $learner := include "hiper.component" (list $root "learner") | fromYaml -}}
{{- $processes := mul $learner.nodes (max 1 ($learner.gpu.count | int)) -}}
{{- if and (gt $processes 1) (ne (dig "learner" "backend" "name" "torch" $given) "deepspeed") -}}
{{- fail (printf "hiper: the learner has %d GPUs (learner.nodes x learner.gpu.count), but its backend uses one: set config.learner.backend={name: deepspeed}" $processes) -}}
{{- end -}}
{{- if and (gt ($learner.nodes | int) 1) (semverCompare "<1.28.0-0" $root.Capabilities.KubeVersion.Version) -}}
{{- fail "hiper: learner.nodes above 1 needs Kubernetes 1.28 or newer, which numbers the pods" -}}
{{- end -}}
{{- if and (gt ($learner.nodes | int) 1) (not $root.Values.storage.run.existingClaim) (not (has "ReadWriteMany" $root.Values.storage.run.accessModes)) -}}
{{- fail "hiper: learner.nodes above 1 needs storage.run with ReadWriteMany: every node reads the checkpoint it resumes from" -}}
{{- end -}}
{{- if and (gt $span 1) (not $rollout.gpu.count) -}}
{{- fail (printf "hiper: config.rollout.tensor_parallel is %d, but rollout pods have no GPU: set rollout.gpu.count=%d" $span $span) -}}
{{- end -}}
{{- end -}}
