{{/* The run file, and what other templates want to know of it. */}}

{{/* The result of a template that takes the root alone, made once in a render. Takes [root, template]. */}}
{{- define "hiper.once" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if not (hasKey $root "HiperOnce") }}{{ $_ := set $root "HiperOnce" dict }}{{ end -}}
{{- if not (hasKey $root.HiperOnce $name) }}{{ $_ := set $root.HiperOnce $name (include $name $root) }}{{ end -}}
{{- get $root.HiperOnce $name -}}
{{- end -}}

{{- define "hiper.runDir" -}}/var/lib/hiper/run{{- end -}}

{{/* Recipe + `config`, before what the chart adds. */}}
{{- define "hiper.givenConfig" }}{{ include "hiper.once" (list . "hiper.givenConfig.made") }}{{ end -}}
{{- define "hiper.givenConfig.made" -}}
{{- $recipe := dict -}}
{{- if .Values.recipe -}}
{{- $recipe = .Files.Get (printf "recipes/%s.yaml" .Values.recipe) | fromYaml -}}
{{- end -}}
{{- /* As the program does: another variant than the recipe's starts afresh. */ -}}
{{- range list (list "hae" "estimator" "name") (list "learner" "backend" "name") (list "rollout" "prompt" "style") -}}
{{- $below := dig (index . 0) (index . 1) (index . 2) "" $recipe -}}
{{- $above := dig (index . 0) (index . 1) (index . 2) $below (deepCopy $.Values.config) -}}
{{- if ne $above $below }}{{ $_ := unset (get $recipe (index . 0) | default dict) (index . 1) }}{{ end -}}
{{- end -}}
{{- mustMergeOverwrite $recipe (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* The run file as it is mounted. */}}
{{- define "hiper.config" }}{{ include "hiper.once" (list . "hiper.config.made") }}{{ end -}}
{{- define "hiper.config.made" -}}
{{- $config := include "hiper.givenConfig" . | fromYaml -}}
{{- $family := include "hiper.playedFamily" . -}}
{{- with (include "hiper.envFamily" (list . $family) | fromYaml).data -}}
{{- if .existingClaim -}}
{{- $_ := set $config "env" (merge (dict "data" (clean (printf "%s/%s" .mountPath .path))) $config.env) -}}
{{- end -}}
{{- end -}}
{{- if dig "warmstart" "enabled" false $config -}}
{{- $_ := set $config "model" (merge (dict "path" (printf "%s/model" (include "hiper.runDir" .))) (default dict $config.model)) -}}
{{- end -}}
{{- $broker := dict "allow_data_loss" .Values.broker.allowDataLoss -}}
{{- if not .Values.broker.enabled -}}
{{- $broker = dict "assume_settings" .Values.externalBroker.assumeSettings -}}
{{- end -}}
{{- $_ := set $config "broker" (merge (default dict $config.broker) $broker) -}}
{{- /* A StatefulSet starts again whatever exits, also a learner that has finished. */ -}}
{{- $_ := set $config "learner" (merge (default dict $config.learner) (dict "when_done" "idle")) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The run file of an environment family's pods: `config.env` where the run plays it, the program's defaults otherwise, and the
     family's own settings over them. Nothing else of the run concerns them but how much of it is traced. Takes [root, family]. */}}
{{- define "hiper.envConfig" -}}
{{- $root := index . 0 -}}
{{- $family := include "hiper.envFamily" . | fromYaml -}}
{{- $config := include "hiper.config" $root | fromYaml -}}
{{- $env := dict -}}
{{- if eq (index . 1) (include "hiper.playedFamily" $root) }}{{ $env = default dict $config.env }}{{ end -}}
{{- with $family.data -}}
{{- if .existingClaim }}{{ $_ := set $env "data" (clean (printf "%s/%s" .mountPath .path)) }}{{ end -}}
{{- end -}}
{{- $env = mustMergeOverwrite $env (deepCopy $family.settings) (dict "name" $family.name) -}}
{{- merge (pick $config "run" "seed" "tracing") (dict "env" $env) | toYaml -}}
{{- end -}}

{{/* `http` if rollouts fetch weights from the learner and each other, else `filesystem`. */}}
{{- define "hiper.transport" -}}
{{- dig "weights" "transport" "filesystem" (include "hiper.givenConfig" . | fromYaml) -}}
{{- end -}}

{{/* `ro` if others than the learner can mount the run's directory, else nothing. */}}
{{- define "hiper.sharedRun" -}}
{{- with .Values.storage.run -}}
{{- if or .existingClaim .singleNode (has "ReadWriteMany" .accessModes) }}ro{{ end -}}
{{- end -}}
{{- end -}}

{{/* How a rollout mounts it: not at all if it needs nothing of it. */}}
{{- define "hiper.rolloutRun" -}}
{{- if or (ne (include "hiper.transport" .) "http") (dig "warmstart" "enabled" false (include "hiper.givenConfig" . | fromYaml)) }}ro{{ end -}}
{{- end -}}

{{- define "hiper.run" -}}
{{- dig "run" "run" (include "hiper.givenConfig" . | fromYaml) -}}
{{- end -}}

{{/* Values of an environment family, defaults filled in. Takes [root, family]. */}}
{{- define "hiper.envFamily" -}}
{{- $root := index . 0 -}}
{{- $family := index . 1 -}}
{{- $own := default dict (index $root.Values.env $family) -}}
{{- $merged := mustMergeOverwrite (deepCopy $root.Values.podDefaults) (deepCopy $root.Values.envDefaults) (deepCopy $own) -}}
{{- $_ := set $merged "name" (default $family $merged.name) -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* Families that are deployed, sorted, as {families: [...]}. */}}
{{- define "hiper.envFamilies" }}{{ include "hiper.once" (list . "hiper.envFamilies.made") }}{{ end -}}
{{- define "hiper.envFamilies.made" -}}
{{- $families := list -}}
{{- range $family := keys .Values.env | sortAlpha -}}
{{- if (include "hiper.envFamily" (list $ $family) | fromYaml).enabled -}}
{{- $families = append $families $family -}}
{{- end -}}
{{- end -}}
{{- dict "families" $families | toYaml -}}
{{- end -}}

{{/* The deployed family that hosts the environment the run plays. */}}
{{- define "hiper.playedFamily" }}{{ include "hiper.once" (list . "hiper.playedFamily.made") }}{{ end -}}
{{- define "hiper.playedFamily.made" -}}
{{- $name := dig "env" "name" "alfworld" (include "hiper.givenConfig" . | fromYaml) -}}
{{- $found := list -}}
{{- range $family := (include "hiper.envFamilies" . | fromYaml).families -}}
{{- if eq (include "hiper.envFamily" (list $ $family) | fromYaml).name $name -}}
{{- $found = append $found $family -}}
{{- end -}}
{{- end -}}
{{- if ne (len $found) 1 -}}
{{- fail (printf "hiper: the run plays `%s` (config.env.name), and %d enabled families of `env` host it: exactly one must" $name (len $found)) -}}
{{- end -}}
{{- first $found -}}
{{- end -}}

{{/* Values of a component, defaults filled in. Takes [root, component]: rollout, reward, hae, learner, control, broker. */}}
{{- define "hiper.component" -}}
{{- $root := index . 0 -}}
{{- mustMergeOverwrite (deepCopy $root.Values.podDefaults) (deepCopy (index $root.Values (index . 1))) | toYaml -}}
{{- end -}}

{{/* Every component whose number of pods may follow load: {component: values}. */}}
{{- define "hiper.scalable" }}{{ include "hiper.once" (list . "hiper.scalable.made") }}{{ end -}}
{{- define "hiper.scalable.made" -}}
{{- $all := dict -}}
{{- range $family := (include "hiper.envFamilies" . | fromYaml).families -}}
{{- $_ := set $all (printf "env-%s" $family) (include "hiper.envFamily" (list $ $family) | fromYaml) -}}
{{- end -}}
{{- range $name := list "rollout" "reward" "hae" -}}
{{- $_ := set $all $name (include "hiper.component" (list $ $name) | fromYaml) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}
