{{/* The tiny model of a warm start: made by the learner's pod in the run's directory, waited for by the rollouts. */}}

{{/* Takes [root, values of the learner, game data of the family]. */}}
{{- define "hiper.makeModel" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
name: warmstart
image: {{ include "hiper.image" (list $root $values.image) }}
imagePullPolicy: {{ default $root.Values.image.pullPolicy $values.image.pullPolicy }}
command: {{ toJson $values.command }}
args: [warmstart, --config, /etc/hiper/config/run.yaml, --output, {{ include "hiper.runDir" $root }}/model]
env:
  - {name: HOME, value: /cache}
  - {name: XDG_CACHE_HOME, value: /cache}
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  {{- toYaml $values.containerSecurityContext | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/hiper/config, readOnly: true}
  - {name: run, mountPath: {{ include "hiper.runDir" $root }}}
  - {name: cache, mountPath: /cache}
  - {name: tmp, mountPath: /tmp}
  {{- with index . 2 }}
  {{- if .existingClaim }}
  - {name: data, mountPath: {{ .mountPath }}, readOnly: true}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* Takes [root, values of the rollout]. It waits for as long as the run may take to appear, then fails by name. */}}
{{- define "hiper.waitForModel" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
name: wait-for-model
image: {{ include "hiper.image" (list $root $values.image) }}
imagePullPolicy: {{ default $root.Values.image.pullPolicy $values.image.pullPolicy }}
command: [python, -c]
args:
  - |
    import pathlib, sys, time
    mark = pathlib.Path("{{ include "hiper.runDir" $root }}/model/warmstart.json")
    give_up = time.monotonic() + 1800
    while not mark.exists():
        if time.monotonic() > give_up:
            sys.exit(f"{mark} did not appear in 30 minutes; see the learner's init container warmstart")
        time.sleep(2)
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 128Mi}
securityContext:
  {{- toYaml $values.containerSecurityContext | nindent 2 }}
volumeMounts:
  - {name: run, mountPath: {{ include "hiper.runDir" $root }}, readOnly: true}
{{- end -}}
